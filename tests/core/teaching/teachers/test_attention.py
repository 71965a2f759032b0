"""The teacher's start, form and reading."""

import pytest
import torch

from fairseq_dlf.core.teaching.teachers import AttentionTeacher


def test_starts_at_the_initial_coefficients_for_every_state():
    initial = torch.tensor([1.0, 0.5, 2.0])
    phi = AttentionTeacher.untaught(initial, features=3, keys=5).along(torch.rand(4, 3))
    torch.testing.assert_close(phi, initial.expand(4, 3))


def test_is_w_softmax_v_s():
    values, keys = torch.randn(4, 3, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    teacher = AttentionTeacher.from_tensors({"values": values, "keys": keys})
    state = torch.tensor([0.3, 0.9], dtype=torch.float64)
    scores = [sum(keys[n, f] * state[f] for f in range(2)).exp() for n in range(3)]
    wanted = [sum(values[i, n] * scores[n] for n in range(3)) / sum(scores) for i in range(4)]
    torch.testing.assert_close(teacher.along(state.unsqueeze(0))[0], torch.stack(wanted))


def test_both_factors_can_move_from_the_start():
    """Zero in both factors would give both a zero gradient; W = 1 gives V one after W has moved."""
    teacher = AttentionTeacher.untaught(torch.ones(3), features=2, keys=4)
    weights = torch.tensor([1.0, -2.0, 0.5])
    optimizer = torch.optim.SGD(teacher.parameters(), lr=0.5)
    keys = teacher.keys.detach().clone()
    for step in range(3):
        optimizer.zero_grad()
        state = torch.tensor([step / 3, 1.0])
        (teacher.along(state.unsqueeze(0))[0] * weights).square().sum().backward()
        optimizer.step()
    assert (teacher.keys - keys).abs().max() > 1e-4
    assert (teacher.values - 1).abs().max() > 0.1


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"values": torch.ones(3, 2)}, "missing.*keys"),
        ({"values": torch.ones(3, 2), "keys": torch.ones(3, 2)}, "do not fit"),
        ({"values": torch.ones(3), "keys": torch.ones(2, 2)}, "do not fit"),
        ({"values": torch.full((3, 2), float("nan")), "keys": torch.ones(2, 2)}, "not all finite"),
    ],
)
def test_refuses_tensors_that_are_no_teacher(tensors, words):
    with pytest.raises(ValueError, match=words):
        AttentionTeacher.from_tensors(tensors)


@pytest.mark.parametrize(("features", "keys", "words"), [(0, 5, "none of them empty"), (3, 0, "keys is 0")])
def test_refuses_empty_sizes(features, keys, words):
    with pytest.raises(ValueError, match=words):
        AttentionTeacher.untaught(torch.ones(3), features, keys)


def test_reading_a_teacher_draws_no_random_numbers():
    """A resumed run reads its teacher within a step: the dropout masks must not change."""
    torch.manual_seed(1)
    wanted = torch.rand(2)
    torch.manual_seed(1)
    AttentionTeacher.from_tensors({"values": torch.ones(3, 2), "keys": torch.ones(2, 2)})
    assert torch.equal(torch.rand(2), wanted)


def test_the_keys_are_drawn_from_a_normal_distribution_of_that_scale():
    torch.manual_seed(2)
    keys = AttentionTeacher.untaught(torch.ones(1), features=50, keys=200, key_scale=0.3).keys.detach() / 0.3
    assert abs(float(keys.mean())) < 0.03 and float(keys.std()) == pytest.approx(1.0, abs=0.02)
    assert float((keys.abs() > 2).float().mean()) == pytest.approx(0.0455, abs=0.01)


def test_bounds_hold_for_every_state():
    torch.manual_seed(3)
    teacher = AttentionTeacher(5 * torch.randn(4, 6), 3 * torch.randn(6, 2))
    low, high = torch.tensor([0.5, -1.0, 0.0, float("-inf")]), torch.tensor([1.5, 1.0, float("inf"), 0.0])
    before = teacher.along(torch.rand(50, 2))
    assert not bool(((before >= low) & (before <= high)).all())
    teacher.bound(low, high)
    after = teacher.along(torch.rand(50, 2))
    assert bool(((after >= low - 1e-6) & (after <= high + 1e-6)).all())


def test_the_scale_of_the_keys_sets_columns_apart():
    """How much the weights of the columns change with s decides how soon Φ becomes dynamic."""
    spread = []
    for scale in (0.1, 5.0):
        torch.manual_seed(4)
        teacher = AttentionTeacher.untaught(torch.ones(3), features=2, keys=4, key_scale=scale)
        weights = torch.softmax(torch.rand(100, 2) @ teacher.keys.t(), dim=-1)
        spread.append(float(weights.std(dim=0).mean()))
    assert spread[1] > 5 * spread[0]
