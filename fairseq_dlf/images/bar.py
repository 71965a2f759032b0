"""Progress bars of long runs of updates."""

from types import TracebackType

from tqdm import tqdm


class EpisodeBar:
    """A bar over T updates and, where there is one, the reverse pass; a `Watch` of the core.

    It is silent if standard error is not a terminal.

    Args:
        label: text before the bar.
        updates: T.
        first: the earliest step that is reversed; None if there is no reverse pass.
        done: number of updates that were completed before.
    """

    def __init__(self, label: str, updates: int, first: int | None = None, done: int = 0):
        total = updates if first is None else updates + updates - first
        self.updates = updates
        self._bar = tqdm(total=total, initial=done, desc=label, unit="step", leave=False, disable=None)

    def forward(self, done: int) -> None:
        self._bar.update(done - self._bar.n)

    def reverse(self, step: int, norm: float) -> None:
        self._bar.set_postfix_str(f"|dω| {norm:.2g}", refresh=False)
        self._bar.update(1)

    def __enter__(self) -> "EpisodeBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
