"""What is timed as a lesson is the episode that it is compared with, and its gradient is that of the teacher."""

import pytest
import torch

from benchmarks import cases, ours

STEPS = 4


@pytest.mark.parametrize("student", ["lstm", "mlp"])
@pytest.mark.parametrize("interval", [1, STEPS])
def test_a_lesson_is_the_bare_episode_and_the_chain_rule(student, interval):
    case = cases.build(student, "small")
    teacher = ours.teacher(case)
    found = ours.lesson(case, teacher, STEPS, interval)
    seen = torch.arange(STEPS) // interval * interval / STEPS
    progress = torch.stack([torch.arange(STEPS) / STEPS, *[seen] * ours.OBSERVED], dim=1)
    dphi = ours.bare_episode(case, STEPS)
    wanted = torch.autograd.grad(-(teacher.along(progress) * dphi).sum(), list(teacher.parameters()))
    assert max(float(gradient.abs().max()) for gradient in wanted) > 0.0
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)
