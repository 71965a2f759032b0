"""The LSTM on each coefficient's gradient, against its equations."""

import math

import pytest
import torch

from fairseq_dlf.core.teaching.teachers import LSTMTeacher
from fairseq_dlf.core.teaching.teachers.lstm import preprocessed

PHI = torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)


def made(width=4, layers=2, step=0.1, seed=1):
    torch.manual_seed(seed)
    return LSTMTeacher.untaught(PHI, features=2, width=width, layers=layers, step=step)


def by_hand(teacher, phi, states, gradient):
    """One step for each coefficient, by the equations: the next Φ, and the next (h, c) of each cell."""
    size = gradient.abs()
    seen = torch.stack([torch.stack([(g + 1e-8).log() / 10, s]) for g, s in zip(size, gradient.sign(), strict=True)])
    following = []
    for cell, (hidden, inside) in zip(teacher.lstm, states, strict=True):
        given = seen @ cell.weight_ih.t() + cell.bias_ih + hidden @ cell.weight_hh.t() + cell.bias_hh
        take, forget, new, show = given.chunk(4, dim=1)
        inside = torch.sigmoid(forget) * inside + torch.sigmoid(take) * torch.tanh(new)
        seen = torch.sigmoid(show) * torch.tanh(inside)
        following.append((seen, inside))
    return phi - 0.1 * seen[:, 0], following


def test_steps_are_those_of_the_equations():
    teacher, gradients = made(), torch.randn(3, 3, dtype=torch.float64)
    memory, phi = teacher.start(), PHI
    states = [(torch.zeros(3, width).double(), torch.zeros(3, width).double()) for width in (4, 4, 1)]
    for gradient in gradients:
        memory = teacher.advance(memory, gradient)
        phi, states = by_hand(teacher, phi, states, gradient)
        wanted = (phi, *(torch.cat(each, dim=1) for each in zip(*states, strict=True)))
        for mine, other in zip(memory, wanted, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)
    assert (memory[0] - PHI).abs().max() < 0.3


def test_gradients_are_preprocessed_by_size_and_sign():
    tiny = math.exp(-10)
    gradient = torch.tensor([2.0, -0.5, tiny, -tiny / 4, 0.0], dtype=torch.float64)
    rows = [
        [math.log(2 + 1e-8) / 10, 1],
        [math.log(0.5 + 1e-8) / 10, -1],
        [math.log(tiny + 1e-8) / 10, 1],
        [-1, -0.25],
        [-1, 0],
    ]
    torch.testing.assert_close(preprocessed(gradient), torch.tensor(rows, dtype=torch.float64))


def test_a_step_has_a_graph_to_every_parameter_and_none_to_its_gradient():
    teacher = made()
    gradient = torch.randn(3, dtype=torch.float64, requires_grad=True)
    memory = teacher.advance(teacher.start(), gradient)
    # From a state of zeros the weights of the state have no effect yet.
    after = teacher.advance(memory, gradient)[0]
    found = torch.autograd.grad(after.sum(), [*teacher.parameters(), gradient], allow_unused=True)
    assert all(bool(each.any()) for each in found[:-1]) and found[-1] is None
    assert not teacher.start()[0].requires_grad


def test_one_step_fits_all_coefficients_alike():
    """A coefficient's step depends on its own gradients alone, whatever its place."""
    teacher = made()
    swap = torch.tensor([2, 0, 1])
    gradients = torch.randn(2, 3, dtype=torch.float64)
    plain, swapped = teacher.start(), tuple(tensor[swap] for tensor in teacher.start())
    for gradient in gradients:
        plain, swapped = teacher.advance(plain, gradient), teacher.advance(swapped, gradient[swap])
    for mine, other in zip(plain, swapped, strict=True):
        torch.testing.assert_close(mine[swap], other)


def test_what_is_kept_is_given_and_has_no_graph():
    teacher = made()
    assert torch.equal(teacher.along(torch.rand(4, 2)), PHI.expand(4, 3)) and not teacher.reads_progress
    memory = teacher.advance(teacher.start(), torch.ones(3).double())
    assert torch.equal(teacher.along(torch.rand(2, 2)), PHI.expand(2, 3))
    teacher.keep(memory)
    assert all(torch.equal(mine, other) for mine, other in zip(teacher.start(), memory, strict=True))
    assert not any(tensor.requires_grad for tensor in teacher.start())
    assert torch.equal(teacher.along(torch.rand(2, 2)), memory[0].expand(2, 3))
    # The graph of the step is whole, although the memory before it is kept no longer.
    assert torch.autograd.grad(memory[0].sum(), teacher.lstm[0].weight_ih)[0].any()
    again = LSTMTeacher.from_tensors(teacher.state_dict())
    further = [each.advance(each.start(), torch.ones(3).double())[0] for each in (teacher, again)]
    assert torch.equal(*further)


def test_another_start_can_be_kept():
    """The cells go on with other coefficients, as many as there are."""
    teacher = made()
    teacher.keep(teacher.advance(teacher.start(), torch.ones(3).double()))
    teacher.begin(torch.tensor([3.0, 4.0]).double())
    assert teacher.coefficients == 2 and teacher.along(torch.rand(1, 2)).tolist() == [[3.0, 4.0]]
    assert teacher.hidden.shape == (2, 9) and not teacher.hidden.any() and not teacher.cells.any()
    assert teacher.advance(teacher.start(), torch.ones(2).double())[0].shape == (2,)


def test_phi_is_bounded_and_the_states_are_left_alone():
    teacher = made()
    teacher.keep(teacher.advance(teacher.start(), torch.ones(3).double()))
    before = teacher.start()
    teacher.bound(torch.tensor([0.0, 0.0, 0.0]).double(), torch.tensor([0.5, 1.0, 1.0]).double())
    assert torch.equal(teacher.phi, before[0].clamp(0.0, 1.0).minimum(torch.tensor([0.5, 1.0, 1.0]).double()))
    assert teacher.phi[0] == 0.5 and teacher.phi[1] == 0.0
    assert torch.equal(teacher.hidden, before[1]) and torch.equal(teacher.cells, before[2])


def test_it_has_the_published_size():
    teacher = LSTMTeacher.untaught(torch.ones(5), features=2)
    sizes = [(cell.input_size, cell.hidden_size) for cell in teacher.lstm]
    assert sizes == [(2, 64), (64, 64), (64, 64), (64, 1)] and float(teacher.step) == pytest.approx(1e-3)
    assert sum(parameter.numel() for parameter in teacher.parameters()) == 84_236
    assert teacher.coefficients == 5 and teacher.features is None


def changed(**changes):
    tensors = {**made().state_dict(), **changes}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "lstm needs tensors that are missing: cells, hidden, lstm.0.weight_ih, phi, step"),
        (changed(phi=None), "missing: phi"),
        (changed(phi=torch.ones(3, 1).double()), r"shapes phi \(3, 1\), .*: wanted \(coefficients,\), and twice"),
        (changed(hidden=torch.ones(3, 5).double()), r"hidden \(3, 5\), .*: wanted .*, 9\) for cells of \[4, 4, 1\]"),
        (changed(phi=torch.ones(0).double()), r"shapes phi \(0,\)"),
        (changed(phi=torch.full((3,), math.nan).double()), "not all finite"),
        (changed(**{"lstm.1.weight_hh": None}), r"the tensors lstm.1.\* are no LSTM cell of 4 inputs: found bias_hh"),
        (changed(**{"lstm.0.weight_ih": torch.ones(16, 3).double()}), r"lstm.0.\* are no LSTM cell of 2 inputs"),
        (changed(**{"lstm.0.weight_ih": torch.ones(3).double()}), r"lstm.0.\* are no LSTM cell of 2 inputs"),
        (changed(**{"lstm.2.weight_ih": None}), "the last cell of a teacher lstm has 4 units: wanted 1"),
    ],
)
def test_refuses_tensors_that_are_no_such_teacher(tensors, words):
    with pytest.raises(ValueError, match=words):
        LSTMTeacher.from_tensors(tensors)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 0}, "width is 0, but must be at least 1"),
        ({"layers": 0}, "layers is 0, but must be at least 1"),
        ({"step": 0.0}, "step is 0.0, but must be positive"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        LSTMTeacher.untaught(PHI, features=2, **options)
