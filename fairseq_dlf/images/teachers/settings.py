"""How a teacher learns: the options of `teach` besides the student's."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_dlf.core.teaching.teachers.attention import KEY_SCALE


@dataclass(frozen=True)
class TeachingSettings:
    """How a teacher learns.

    Attributes:
        teacher_steps: episodes, each one update of θ.
        teacher_rate: Adam's learning rate on θ.
        keys: N, the teacher's keys; 1 gives a Φ that does not depend on s.
        key_scale: standard deviation of V at the start.
        phi_start: Φ is this multiple of the identity before teaching.
        ce_share: α, the share of cross-entropy in the student's loss.
        truncation: K, the steps that the gradient goes back through; 0 is the whole run.
        trajectory_memory: room for kept students.
        cotangent_clip: bound on ‖∂M̃/∂ω_t‖; 0 is none.
        collapse_share: an episode is discarded where its measure ends below this share of its start, or
            of the best end so far.
        growth_limit: so is one where ‖∂M̃/∂ω_t‖ grows by more than this factor on its way back.
        measure_images: dev images of M̃, drawn anew for each episode; 0 is all.
        measure_share: share of dev that M̃ is taken on; θ is chosen on the rest, so that a teacher which
            fits its dev images only is not chosen. 1 takes all of dev for both (paper).
        sharpness: β of M̃; 1 is the paper's mean p(y).
        validate_every: teacher steps between validations of θ.
        validation_students: students of a validation, whose accuracies are averaged.
        diagonal, off_diagonal: bounds on the elements of Φ; None is none.
        seed: of everything drawn.
    """

    teacher_steps: int = 60
    teacher_rate: float = 1e-4
    keys: int = 10
    key_scale: float = KEY_SCALE
    phi_start: float = 1.0
    ce_share: float = 0.0
    truncation: int = 0
    trajectory_memory: str = "512MiB"
    cotangent_clip: float = 0.0
    collapse_share: float = 0.9
    growth_limit: float = 1e3
    measure_images: int = 0
    measure_share: float = 1.0
    sharpness: float = 1.0
    validate_every: int = 5
    validation_students: int = 1
    diagonal: tuple[float, float] | None = None
    off_diagonal: tuple[float, float] | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        positive = (
            "teacher_steps",
            "teacher_rate",
            "keys",
            "phi_start",
            "sharpness",
            "validate_every",
            "validation_students",
        )
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be positive")
        if not 0.0 < self.measure_share <= 1.0:
            raise ValueError(f"measure_share is {self.measure_share}, but must lie in (0, 1]; 1 is all of dev")
        for name, initial in (("diagonal", self.phi_start), ("off_diagonal", 0.0)):
            bounds = getattr(self, name)
            if bounds is not None and not bounds[0] <= initial <= bounds[1]:
                raise ValueError(
                    f"the bounds {name} = {bounds[0]:g},{bounds[1]:g} leave out {initial:g}, where Φ starts: "
                    "give LOW,HIGH around it"
                )

    def bounds(self, classes: int) -> tuple[Tensor, Tensor] | None:
        """Least and greatest Φ, (classes²,) each; None where nothing is bound."""
        if self.diagonal is None and self.off_diagonal is None:
            return None
        infinite = (float("-inf"), float("inf"))
        low, high = (
            torch.full((classes, classes), (self.off_diagonal or infinite)[side]).fill_diagonal_(
                (self.diagonal or infinite)[side]
            )
            for side in (0, 1)
        )
        return low.flatten(), high.flatten()

    @property
    def signature(self) -> str:
        """What of these settings changes the teacher, but for the number of steps."""
        fields = [f"rmd:K{self.truncation}:exact", f"adam:lr{self.teacher_rate:g}"]
        fields.append(f"N{self.keys}:scale{self.key_scale:g}:start{self.phi_start:g}|ce:{self.ce_share:g}")
        fields.append(
            f"eacc:b{self.sharpness:g}:dev{self.measure_images}of{self.measure_share:g}|val{self.validate_every}x{self.validation_students}"
        )
        if self.cotangent_clip:
            fields.append(f"clipcot{self.cotangent_clip:g}")
        for name, bounds in (("diag", self.diagonal), ("off", self.off_diagonal)):
            if bounds is not None:
                fields.append(f"{name}{bounds[0]:g},{bounds[1]:g}")
        return "|".join([*fields, f"collapse{self.collapse_share:g},{self.growth_limit:g}", f"seed:{self.seed}"])
