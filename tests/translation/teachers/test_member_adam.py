"""Adam with a scale for each member: directions, their mean, collapses, clipping, resumption."""

import copy
import shutil
from argparse import Namespace

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.teachers import member_adam
from fairseq_dlf.translation.teachers.member_adam import MemberAdam
from tests.translation.tiny_runs import STUDENT, TEACHING, parameters, train

OPTIONS = {"lr": [0.1], "adam_betas": "(0.8, 0.9)", "adam_eps": 1e-3}
BETAS, EPSILON, RATE = (0.8, 0.9), 1e-3, 0.1
SHAPES = ((3, 2), (4,))
MEMBERS = 2


class Run:
    """An optimiser of two parameters, driven as fairseq's trainer does; fairseq clips in float32 only."""

    def __init__(self, clip_norm=0.0):
        torch.manual_seed(1)
        dtype = torch.float32 if clip_norm else torch.float64
        self.parameters = [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]
        self.optimizer = MemberAdam(Namespace(**OPTIONS), self.parameters)
        self.clip_norm = clip_norm

    def update(self, *episodes, members=MEMBERS):
        """Learn from episodes: (member, gradients, weight)."""
        self.optimizer.zero_grad()
        for member, gradients, weight in episodes:
            self.optimizer.backward(sum((p * g).sum() for p, g in zip(self.parameters, gradients, strict=True)))
            self.optimizer.credit(member, members, weight)
        self.optimizer.all_reduce_grads(None)
        self.optimizer.multiply_grads(1.0 / max(1, sum(weight for *_, weight in episodes)))
        norm = self.optimizer.clip_grad_norm(self.clip_norm) if self.clip_norm else None
        self.optimizer.step()
        return norm

    @property
    def theta(self):
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters])


def drawn(number, scale=1.0):
    """Gradients of so many episodes."""
    return [[scale * torch.randn(shape, dtype=torch.float64) for shape in SHAPES] for _ in range(number)]


def flat(gradients):
    return torch.cat([each.flatten() for each in gradients])


class ByHand:
    """Adam's directions of one member, written out."""

    def __init__(self):
        self.first = self.second = 0.0
        self.done = 0

    def direction(self, gradient):
        self.done += 1
        self.first = BETAS[0] * self.first + (1 - BETAS[0]) * gradient
        self.second = BETAS[1] * self.second + (1 - BETAS[1]) * gradient**2
        mean, square = self.first / (1 - BETAS[0] ** self.done), self.second / (1 - BETAS[1] ** self.done)
        return mean / (square.sqrt() + EPSILON)


def test_the_move_is_the_mean_of_the_members_own_directions():
    run, by_hand = Run(), [ByHand(), ByHand()]
    theta = run.theta
    for small, great in zip(drawn(4), drawn(4, scale=1e4), strict=True):
        run.update((0, small, 1), (1, great, 1))
        directions = [own.direction(flat(found)) for own, found in zip(by_hand, (small, great), strict=True)]
        theta = theta - RATE * (directions[0] + directions[1]) / 2
        torch.testing.assert_close(run.theta, theta)


def test_one_member_is_torchs_adam():
    run = Run()
    others = [torch.nn.Parameter(parameter.detach().clone()) for parameter in run.parameters]
    plain = torch.optim.Adam(others, lr=RATE, betas=BETAS, eps=EPSILON)
    for found in drawn(5):
        run.update((0, found, 1), members=1)
        for parameter, gradient in zip(others, found, strict=True):
            parameter.grad = gradient
        plain.step()
    for parameter, other in zip(run.parameters, others, strict=True):
        torch.testing.assert_close(parameter, other)


def test_several_episodes_of_a_member_are_one_gradient():
    run, mean = Run(), Run()
    one, two, other = drawn(3)
    run.update((0, one, 1), (1, other, 1), (0, two, 1))
    mean.update((0, [(a + b) / 2 for a, b in zip(one, two, strict=True)], 1), (1, other, 1))
    torch.testing.assert_close(run.theta, mean.theta)


def test_a_collapsed_member_takes_no_part_and_keeps_its_moments():
    run, by_hand = Run(), [ByHand(), ByHand()]
    theta = run.theta
    for collapsed, (one, other) in zip((False, True, False), (drawn(2) for _ in range(3)), strict=True):
        nothing = [0 * gradient for gradient in other]
        run.update((0, one, 1), (1, nothing, 0) if collapsed else (1, other, 1))
        directions = [by_hand[0].direction(flat(one))]
        directions += [] if collapsed else [by_hand[1].direction(flat(other))]
        theta = theta - RATE * torch.stack(directions).mean(dim=0)
        torch.testing.assert_close(run.theta, theta)
    assert run.optimizer.optimizer.state[run.parameters[0]]["step"].tolist() == [3.0, 2.0]


def test_a_collapsed_episode_beside_good_ones_of_its_member_does_not_count():
    run, without = Run(), Run()
    one, other = drawn(2)
    run.update((0, one, 1), (1, other, 1), (0, [0 * gradient for gradient in one], 0))
    without.update((0, one, 1), (1, other, 1))
    assert torch.equal(run.theta, without.theta)


def test_the_gradient_of_each_member_is_clipped_and_the_norm_is_that_of_their_mean():
    run, by_hand = Run(clip_norm=0.5), [ByHand(), ByHand()]
    small, great = drawn(1, scale=1e-3)[0], drawn(1, scale=1e3)[0]
    theta = run.theta.double()
    norm = run.update((0, small, 1), (1, great, 1))
    torch.testing.assert_close(norm, ((flat(small) + flat(great)) / 2).norm().float())
    clipped = flat(great) * (0.5 / (flat(great).norm() + 1e-6))
    mean = (by_hand[0].direction(flat(small)) + by_hand[1].direction(clipped)) / 2
    torch.testing.assert_close(run.theta, (theta - RATE * mean).float())


def test_gradients_of_all_workers_are_summed(monkeypatch):
    run, alone = Run(), Run()
    one, other = drawn(2)

    def from_elsewhere(sums):
        sums[1, :-1] += flat(other)
        sums[1, -1] += 1

    monkeypatch.setattr(member_adam.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(member_adam.distributed, "all_reduce", from_elsewhere)
    run.update((0, one, 1))
    monkeypatch.setattr(member_adam.distributed, "is_initialized", lambda: False)
    alone.update((0, one, 1), (1, other, 1))
    assert torch.equal(run.theta, alone.theta)


def test_fairseqs_gradient_is_the_sum_over_episodes():
    run = Run()
    one, other = drawn(2)
    run.update((0, one, 1), (1, other, 1))
    for parameter, a, b in zip(run.parameters, one, other, strict=True):
        torch.testing.assert_close(parameter.grad, (a + b) / 2)


def test_moments_are_restored_and_must_be_of_as_many_members():
    run, resumed = Run(), Run()
    episodes = [[(0, one, 1), (1, other, 1)] for one, other in (drawn(2) for _ in range(3))]
    run.update(*episodes[0])
    run.update(*episodes[1])
    for parameter, other in zip(resumed.parameters, run.parameters, strict=True):
        parameter.data.copy_(other.detach())
    resumed.optimizer.load_state_dict(copy.deepcopy(run.optimizer.state_dict()))
    run.update(*episodes[2])
    resumed.update(*episodes[2])
    assert torch.equal(run.theta, resumed.theta)
    with pytest.raises(InputError, match="moments of 2 students, but --student names 3: .* or pass --reset-optimizer"):
        resumed.update(*episodes[2], members=3)


def test_other_tasks_are_refused():
    run = Run()
    run.optimizer.backward(run.parameters[0].sum())
    with pytest.raises(InputError, match="learned of no episode: it trains teachers, .* take --optimizer adam"):
        run.optimizer.step()


def test_options_are_checked():
    for options, words in (
        ({"adam_eps": 0.0}, "epsilon is 0.0, but must be positive .--adam-eps"),
        ({"adam_betas": (1.0, 0.9)}, "beta1 is 1.0.*--adam-betas"),
    ):
        with pytest.raises(InputError, match=words):
            MemberAdam(Namespace(**{**OPTIONS, **options}), [torch.nn.Parameter(torch.ones(1))])


# Runs ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def students(data, tmp_path_factory):
    """A population: a student after one update and after two, and new weights."""
    folder = tmp_path_factory.mktemp("students")
    train(data, folder, *STUDENT, "--max-update=2", "--save-interval-updates=1", "--disable-validation")
    young, old = folder / "checkpoint_1_1.pt", folder / "checkpoint_last.pt"
    return f"{young},{old},fresh:{old}"


def test_a_population_is_taught_and_resumes_bit_for_bit(data, students, tmp_path, caplog):
    run = [*TEACHING, f"--student={students}", "--update-freq=3", "--optimizer=dlf_member_adam", "--clip-norm=0.01"]
    run += ["--student-steps=1", "--adam-betas=(0.5, 0.9)", "--disable-validation"]
    with caplog.at_level("INFO"):
        train(data, tmp_path / "straight", *run, "--max-update=2")
    assert "|start:warm,warm,fresh|" in caplog.text and "|episodes:3|" in caplog.text
    assert "|optimizer:dlf_member_adam(adam_betas=(0.5, 0.9)" in caplog.text
    (tmp_path / "resumed").mkdir()
    shutil.copy(tmp_path / "straight" / "checkpoint1.pt", tmp_path / "resumed" / "checkpoint_last.pt")
    train(data, tmp_path / "resumed", *run, "--max-update=2")
    found, wanted = (parameters(tmp_path / name / "checkpoint_last.pt") for name in ("resumed", "straight"))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    moved = wanted["teacher.values"] - 1
    assert 0.01 < moved.abs().max() < 0.2
