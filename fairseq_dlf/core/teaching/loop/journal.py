"""The log of a teacher's steps, one line of JSON per step."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fairseq_dlf.core.files.fields import ANY_NUMBER, parse_json, read_dataclass
from fairseq_dlf.core.files.replacement import naming_full_disk, replacing
from fairseq_dlf.core.support.checks import require_at_least, require_between
from fairseq_dlf.core.support.errors import InputError

LOG_NAME = "teaching.jsonl"


@dataclass(frozen=True)
class TeacherStep:
    """A line of a teacher's log; step 0 is the untaught teacher.

    Attributes:
        step: number of the teacher step.
        measure_before, measure_after: M̃ of the episode's student on dev, in [0, 1]; perhaps NaN if the student
            collapsed.
        student_loss: mean over the episode's updates; perhaps not finite if the student collapsed.
        dev_accuracy: of the validation's students after this step, in [0, 1]; None if θ was not validated.
        gradient_norm: ‖∂M̃/∂θ‖.
        dtheta_norm: ‖θ' − θ‖ of the update.
        dphi_norm: ‖∂M̃/∂Φ‖ over all updates of the episode.
        leverage: ‖Σ_t ∂M̃/∂Φ_t‖₁, of a measure in [0, 1].
        cotangent_growth: ‖∂M̃/∂ω‖ at the start of the horizon divided by that at the end of the episode.
        collapsed: whether the episode was discarded.
        elapsed_s: seconds of the step, validation included.
        reward: mean reward of the actions that were recorded in this step; None where the estimator gives none.
    """

    step: int
    measure_before: float | None = field(metadata=ANY_NUMBER)
    measure_after: float | None = field(metadata=ANY_NUMBER)
    student_loss: float | None = field(metadata=ANY_NUMBER)
    dev_accuracy: float | None
    gradient_norm: float
    dtheta_norm: float
    dphi_norm: float
    leverage: float
    cotangent_growth: float
    collapsed: bool
    elapsed_s: float
    reward: float | None = None

    def __post_init__(self) -> None:
        require_at_least(0, step=self.step, elapsed_s=self.elapsed_s)
        if self.collapsed:
            return
        for name in ("measure_before", "measure_after", "dev_accuracy"):
            if getattr(self, name) is not None:
                require_between(0.0, 1.0, **{name: getattr(self, name)})
        if self.student_loss is not None and not math.isfinite(self.student_loss):
            raise InputError(f"student_loss is {self.student_loss}, but the episode did not collapse")

    def describe(self, measure_name: str, value_name: str) -> str:
        """Say what the step came to, to follow its number.

        Args:
            measure_name, value_name: of the measure and of a validation's value.
        """
        parts = [""]
        if self.measure_before is not None:
            parts += [
                f"{measure_name} {self.measure_before:.4f} → {self.measure_after:.4f}",
                f"|dθ| {self.dtheta_norm:.2g}",
            ]
            if self.reward is None:
                parts += [
                    f"|dΦ| {self.dphi_norm:.2g}",
                    f"leverage {self.leverage:.3g}",
                    f"growth {self.cotangent_growth:.2g}",
                ]
            else:
                parts.append(f"mean reward {self.reward:+.2f}")
        if self.dev_accuracy is not None:
            parts.append(f"validated {value_name} {self.dev_accuracy:.2%}")
        return ", ".join(parts)


def append_step(path: Path, step: TeacherStep) -> None:
    """Add a line to a teacher's log.

    Raises:
        DiskError: the disk is full.
    """
    with naming_full_disk(path), path.open("a", encoding="utf-8") as log:
        log.write(_line(step))


def replace_steps(path: Path, steps: Sequence[TeacherStep]) -> None:
    """Write a log anew; a failure leaves the old log unchanged."""
    with replacing(path) as partial:
        partial.write_text("".join(map(_line, steps)), encoding="utf-8")


def read_steps(path: Path) -> list[TeacherStep]:
    """Read a teacher's log, without a last line that a crash has cut off; a missing file counts as an empty log.

    Raises:
        InputError: another line is damaged, or a step comes twice or too early.
    """
    steps: list[TeacherStep] = []
    lines = _lines(path)
    for number, line in enumerate(lines, start=1):
        remedy = f"remove line {number}, or teach again"
        try:
            step = read_dataclass(TeacherStep, parse_json(line, path, remedy), path, remedy)
        except InputError:
            if number == len(lines) and not line.endswith(b"\n"):
                break
            raise
        if steps and step.step <= steps[-1].step:
            raise InputError(f"{path} is damaged: step {step.step} comes after step {steps[-1].step}; {remedy}")
        steps.append(step)
    return steps


def _lines(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    try:
        return path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); delete it and teach again") from error


def _line(step: TeacherStep) -> str:
    row = asdict(step)
    if step.reward is None:
        del row["reward"]
    return json.dumps(row) + "\n"
