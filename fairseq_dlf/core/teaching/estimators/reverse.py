"""θ's gradient by reverse-mode differentiation of the student's run (RMD): the paper's Algorithm 1."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import EpisodePlan, EpisodeResult, run_episode
from fairseq_dlf.core.hypergradient.unroll import Unroll, Watch
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.teaching.estimators.estimator import ESTIMATORS, Estimate, require_match
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Lesson


@ESTIMATORS.register("reverse")
@dataclass(frozen=True)
class Reverse:
    """The hypergradient dΦ_t of every step, exactly or by differences, in one lesson.

    loss = −Σ_t ⟨Φ_t(θ), dΦ_t⟩ over one batched forward of the teacher: its gradient is −∂M̃/∂θ.

    Attributes:
        plan: horizon, curvature, trajectory, and the conditions of a collapse.

    Cost: T training steps in the forward pass, T products in the reverse pass, two measures (`run_episode`).
    Paper: Algorithm 1.
    """

    plan: EpisodePlan

    @property
    def signature(self) -> Part:
        return {"estimator": "reverse", **self.plan.signature}

    def __call__(
        self,
        lesson: Lesson,
        guidance: Guidance,
        along: Callable[[Tensor], Tensor],
        floor: float = -math.inf,
        watch: Watch | None = None,
    ) -> Estimate:
        require_match(type(self), type(guidance.teacher))
        result = run_episode(
            lesson.student,
            lesson.rule,
            guidance.source,
            lesson.start,
            lesson.measure,
            replace(self.plan, collapse_floor=floor),
            watch=watch,
            observe=guidance.observe,
        )
        coefficients = along(guidance.progress)
        gradient = result.hypergradient
        # After a collapse the loss has weight 0, but still a graph, since every process must take part in the update.
        loss = 0.0 * coefficients.sum() if gradient is None else -(coefficients * gradient.coefficients).sum()
        return Estimate(loss, episode_figures(result), result.collapse, ended(result))


def ended(result: EpisodeResult) -> Unroll:
    """Return the student at the end of an episode."""
    return Unroll(result.final, result.losses, result.buffers)


def episode_figures(result: EpisodeResult) -> dict[str, float]:
    """Return the figures of an episode for the log."""
    gradient = result.hypergradient
    return {
        "measure_before": result.measure_before,
        "measure_after": result.measure_after,
        "student_loss": float(result.losses.mean()),
        "forward_s": result.forward_s,
        "reverse_s": result.reverse_s,
        "dphi_norm": 0.0 if gradient is None else float(gradient.coefficients.norm()),
        "leverage": 0.0 if gradient is None else gradient.leverage,
        "cotangent_norm": 0.0 if gradient is None else gradient.norms[0],
        "cotangent_growth": 0.0 if gradient is None else gradient.growth,
    }
