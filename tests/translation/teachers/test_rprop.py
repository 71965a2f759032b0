"""Steps by the sign of the gradient."""

from argparse import Namespace

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.teachers.rprop import Rprop


def stepped(*gradients, **options):
    """The moves of one parameter for these gradients."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = Rprop(Namespace(**{"lr": [0.4], "rprop_shrink": 0.5, **options}), [parameter])
    places = [0.0]
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient])
        optimizer.step()
        places.append(parameter.item())
    return [later - earlier for earlier, later in zip(places, places[1:], strict=False)]


def test_steps_have_the_size_of_the_rate_whatever_the_gradient():
    assert stepped(-3.0, -1e-6, -20.0) == pytest.approx([0.4, 0.4, 0.4])


def test_a_step_is_halved_where_the_sign_turns():
    """Where it turns the parameter waits, and goes on with half the step."""
    assert stepped(-1.0, 2.0, 2.0, 2.0) == pytest.approx([0.4, 0.0, -0.2, -0.2])
    assert stepped(-1.0, 2.0, 2.0, rprop_shrink=0.1) == pytest.approx([0.4, 0.0, -0.04])


def test_no_gradient_moves_nothing():
    assert stepped(0.0, -1.0) == pytest.approx([0.0, 0.4])


@pytest.mark.parametrize("shrink", [0.0, 1.0, -1.0])
def test_the_factor_is_checked(shrink):
    with pytest.raises(InputError, match="--rprop-shrink is .*, but must lie between 0 and 1"):
        stepped(rprop_shrink=shrink)
