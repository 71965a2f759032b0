"""The controller of coefficients: what each reads, how it moves, its entropy, files."""

import pytest
import torch

from fairseq_dlf.core.teaching.teachers import TEACHERS, CoefficientController, ControllerTeacher

START = torch.tensor([1.0, 0.0, 0.5, 0.2])


def controller(neutral=START, features=5, **options):
    torch.manual_seed(4)
    made = CoefficientController.untaught(neutral, features, **options)
    with torch.no_grad():
        made.weight_3.normal_()
        made.bias_3.normal_()
    return made


def progress_of(steps):
    torch.manual_seed(7)
    progress = torch.rand(steps, 5)
    progress[:, 0] = torch.arange(steps) / steps
    return progress


def test_a_coefficient_reads_its_own_statistic():
    """Also where their number is a square, which a controller of classes takes for pairs."""
    made, progress = controller(beta=0.25), progress_of(3)
    memory = made.begin(5, explores=True)
    for row in progress[:2]:
        phi, memory = made(row.unsqueeze(0), memory)
    states = made.decision(progress[2], memory).states
    assert states.shape == (4, 13)
    for number in range(4):
        past = [progress[0, number + 1]] * 8 + [progress[1, number + 1], progress[2, number + 1]]
        mean = sum(past) / 10
        wanted = [*past, (past[-1] - mean) / (mean + 1e-6), phi[0, number] - START[number], progress[2, 0]]
        torch.testing.assert_close(states[number], torch.stack(wanted).detach(), rtol=1e-5, atol=1e-6)


def test_coefficients_move_by_themselves():
    made = controller(beta=0.25)
    found = made(progress_of(8), made.begin(3, explores=True))[0].detach()
    assert len({tuple(row) for row in (found - START).t().tolist()}) == 4
    assert set(torch.cat([found[:1] - START, found.diff(dim=0)]).round(decimals=4).flatten().tolist()) <= {
        -0.25,
        0,
        0.25,
    }


@pytest.mark.parametrize("untaught", [True, False])
def test_the_entropy_is_that_of_the_policy(untaught):
    made = controller().double()
    if untaught:
        made = CoefficientController.untaught(START.double(), 5)
    states = torch.rand(6, 4, 13, dtype=torch.float64)
    actions = torch.arange(3).view(3, 1, 1).expand(3, 6, 4)
    log_probs = made._log_probs(states.expand(3, 6, 4, 13), actions).detach()
    wanted = -(log_probs.exp() * log_probs).sum(dim=0).mean(dim=-1)
    torch.testing.assert_close(made.entropy(states).detach(), wanted, rtol=0, atol=1e-10)
    assert bool((wanted - torch.log(torch.tensor(3.0, dtype=torch.float64))).abs().max() < 1e-10) == untaught


def test_its_tensors_make_it_again():
    made = controller(beta=0.25, sampled=1)
    again = TEACHERS["coefficient_controller"].from_tensors(made.state_dict())
    progress = progress_of(5)
    assert isinstance(again, CoefficientController) and again.features == 5
    assert torch.equal(again(progress, again.begin(1, False))[0], made(progress, made.begin(1, False))[0])


def test_wrong_numbers_of_statistics_are_named():
    with pytest.raises(
        ValueError, match="each of 4 coefficients reads a statistic of its own, but there are 2 statist"
    ):
        controller(features=3)
    with pytest.raises(ValueError, match="coefficient_controller is 3, but must be 0 or 1"):
        controller(sampled=3)
    for features, words in ((5, "those of pairs of classes"), (4, "those of 3 statistics")):
        other = ControllerTeacher.untaught(START, features)
        with pytest.raises(ValueError, match=f"a coefficient_controller reads one statistic .* {words}"):
            CoefficientController.from_tensors(other.state_dict())
