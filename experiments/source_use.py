"""How much of what a student predicts of dev it takes from the source, at several points of its training."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fairseq_dlf.command_line import option_names, place, run_command
from fairseq_dlf.core.support.errors import InputError

NAME = "source-use"
PROGRAM = f"python -m experiments {NAME}"


class SourceUse(NamedTuple):
    """Figures of a student on dev, in nats per target token.

    Attributes:
        own: cross-entropy given the source.
        other: cross-entropy given the source of another sentence of about the same length.
        entropy: of the predictions given the source.
    """

    own: float
    other: float
    entropy: float

    @property
    def gain(self) -> float:
        """What the right source tells the student."""
        return self.other - self.own


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    return run_command(PROGRAM, lambda: run(options), option_names(parser))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Print cross-entropy of dev with the right and with other sources, and the entropy of predictions.",
    )
    parser.add_argument("data", type=place, metavar="DATA-BIN", help="binarised corpus")
    parser.add_argument("checkpoints", type=place, nargs="+", metavar="CHECKPOINT", help="students of this corpus")
    return parser


def run(options: argparse.Namespace) -> None:
    """Print a row for each checkpoint."""
    # It takes seconds to import, which --help can do without.
    from fairseq import options as fairseq_options
    from fairseq.tasks.translation import TranslationTask

    from fairseq_dlf.translation.episodes.checkpoints import StudentCheckpoint

    if not options.data.is_dir():
        raise InputError(f"there is no folder {options.data}: name the binarised corpus", setting="data")
    words = [str(options.data), "--task", "translation"]
    task = TranslationTask.setup_task(
        fairseq_options.parse_args_and_arch(fairseq_options.get_validation_parser("translation"), words)
    )
    task.load_dataset("valid")
    print("| checkpoint | nats, own source | nats, other source | gain | entropy |\n|---|---|---|---|---|")
    for path in options.checkpoints:
        found = source_use(StudentCheckpoint(str(path), task).model, task.dataset("valid"))
        figures = (found.own, found.other, found.gain, found.entropy)
        print(f"| {_shown(path)} | {' | '.join(f'{figure:.3f}' for figure in figures)} |", flush=True)


def source_use(model: Any, dataset: Any) -> SourceUse:
    """Measure a student, without dropout, on all sentences of a data set.

    Args:
        model: a fairseq encoder-decoder.
        dataset: fairseq's language pairs.

    Raises:
        InputError: there are fewer than two sentences, so that no other source is there.

    Cost: two passes over the data set.
    """
    import torch

    from fairseq_dlf.translation.bleu.decoding import batches_of

    if len(dataset) < 2:
        raise InputError("dev has fewer than two sentences: none has another source")
    model.eval()
    sums, tokens = torch.zeros(3, dtype=torch.float64), 0
    with torch.no_grad():
        for batch in batches_of(dataset, range(len(dataset)), next(model.parameters()).device):
            if len(batch["target"]) == 1:  # a last batch, in which no other source is there
                continue
            counted = batch["target"] != dataset.tgt_dict.pad()
            table = _log_probs(model, batch)
            moved = _with_other_sources(batch)
            sums[0] += _nats(table, batch["target"], counted)
            sums[1] += _nats(_log_probs(model, moved), moved["target"], counted.roll(1, dims=0))
            sums[2] -= float((table.exp() * table).sum(dim=-1)[counted].sum())
            tokens += int(counted.sum())
    return SourceUse(*(sums / tokens).tolist())


def _log_probs(model: Any, batch: dict[str, Any]) -> Any:
    return model.get_normalized_probs(model(**batch["net_input"]), log_probs=True)


def _nats(table: Any, target: Any, counted: Any) -> float:
    """Return the cross-entropy of a batch, summed over the targets that count."""
    return -float(table.gather(-1, target.unsqueeze(-1)).squeeze(-1)[counted].sum())


def _with_other_sources(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch where each source has the target of the sentence before it.

    The targets move, since fairseq's LSTM wants sources sorted by their length.
    """
    moved = batch["net_input"]["prev_output_tokens"].roll(1, dims=0)
    return {"net_input": {**batch["net_input"], "prev_output_tokens": moved}, "target": batch["target"].roll(1, dims=0)}


def _shown(path: Path) -> str:
    return "/".join(path.parts[-2:])
