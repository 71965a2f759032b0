"""The log of a teacher's steps."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fairseq_dlf.images.records.training import checked_row

LOG_NAME = "teaching.jsonl"


@dataclass(frozen=True)
class TeacherStep:
    """A line of a teacher's log; step 0 is the untaught teacher.

    Attributes:
        step: number of the teacher step.
        measure_before, measure_after: expected dev accuracy of the episode's student, in [0, 1].
        student_loss: mean over the episode's updates.
        dev_accuracy: of the validation's students after this step, in [0, 1]; None where θ was not validated.
        gradient_norm: ‖∂M̃/∂θ‖.
        dtheta_norm: ‖θ' − θ‖ of the update.
        dphi_norm: ‖∂M̃/∂Φ‖ over all updates of the episode.
        leverage: ‖Σ_t ∂M̃/∂Φ_t‖₁, of a measure in [0, 1].
        cotangent_growth: ‖∂M̃/∂ω‖ at the horizon over that at the end of the episode.
        collapsed: whether the episode was discarded.
        elapsed_s: seconds of the step, validation included.
    """

    step: int
    measure_before: float | None
    measure_after: float | None
    student_loss: float | None
    dev_accuracy: float | None
    gradient_norm: float
    dtheta_norm: float
    dphi_norm: float
    leverage: float
    cotangent_growth: float
    collapsed: bool
    elapsed_s: float


def append_step(path: Path, step: TeacherStep) -> None:
    """Adds a line to a teacher's log."""
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(asdict(step)) + "\n")


def read_steps(path: Path) -> list[TeacherStep]:
    """The lines of a teacher's log; a last one that a crash has torn is left out.

    Raises:
        ValueError: another line is damaged.
    """
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    steps = []
    for number, line in enumerate(lines, start=1):
        try:
            steps.append(checked_row(TeacherStep, json.loads(line), path))
        except (json.JSONDecodeError, TypeError) as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise ValueError(f"{path} is damaged at line {number} ({error}): remove the line") from error
    return steps
