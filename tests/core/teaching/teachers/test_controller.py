"""The controller: what it reads, how it moves Φ, draws that are replayed, bounds, files."""

import math

import pytest
import torch

from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.teaching.estimators import ForwardDifferences, Reverse, estimate
from fairseq_dlf.core.teaching.guidance import Guidance, opening
from fairseq_dlf.core.teaching.teachers import ControllerTeacher
from tests.core.teaching.toy import FEATURES, ToyLesson

PAIRS = torch.eye(3).flatten()


def controller(neutral=PAIRS, features=10, taught=True, **options):
    """A controller with a policy that is not uniform."""
    torch.manual_seed(4)
    made = ControllerTeacher.untaught(neutral, features, **options)
    if taught:
        with torch.no_grad():
            made.weight_3.normal_()
            made.bias_3.normal_()
    return made


def progress_of(steps, features=10, seed=7):
    torch.manual_seed(seed)
    progress = torch.rand(steps, features)
    progress[:, 0] = torch.arange(steps) / steps
    return progress


def test_one_action_moves_a_pair_alike_and_the_diagonal_stays():
    made = controller(beta=0.25)
    found = made(progress_of(6), made.begin(3, explores=True))[0].detach().view(6, 3, 3)
    assert torch.equal(found, found.transpose(1, 2))
    assert torch.equal(found.diagonal(dim1=1, dim2=2), torch.ones(6, 3))
    moves = torch.cat([found[:1] - torch.eye(3), found.diff(dim=0)])
    assert set(moves.flatten().tolist()) == {-0.25, 0.0, 0.25}
    upper = moves[:, [0, 0, 1], [1, 2, 2]]
    assert (upper[:, 0] != upper[:, 1]).any() and (upper[:, 1] != upper[:, 2]).any()


def test_coefficients_of_other_forms_move_by_themselves():
    made = controller(torch.tensor([1.0, 0.0, 0.5, 0.2]), 3)
    found = made(progress_of(8, 3), made.begin(3, explores=True))[0].detach()
    assert made.weight_1.shape == (32, 2 * 11 + 2) and len(set(map(tuple, (found - made.opening).t().tolist()))) == 4


def test_a_state_is_the_past_its_relative_change_the_place_and_the_share():
    """Written out for the pair of classes 0 and 2, after three decisions."""
    made, progress = controller(beta=0.25), progress_of(4)
    memory = made.begin(5, explores=True)
    for row in progress[:3]:
        phi, memory = made(row.unsqueeze(0), memory)
    states = made.decision(progress[3], memory).states
    past = torch.stack([*[progress[0, 1:]] * 7, *progress[1:, 1:]])[:, [2, 6]]
    # The first row was there ten times, and three have come since.
    mean = past.mean(dim=0)
    wanted = torch.cat([past.flatten(), (past[-1] - mean) / (mean + 1e-6), phi.detach()[0, 2:3], progress[3, :1]])
    torch.testing.assert_close(states[1], wanted)
    assert states.shape == (3, 24)


def test_a_student_that_does_not_change_has_no_relative_change():
    states = controller().decision(progress_of(1)[0], controller().start()).states
    assert not states[:, 20:22].abs().gt(1e-6).any() and states[:, :20].min() > 0


def test_the_place_is_the_share_of_the_way_to_the_bound():
    made = controller(beta=0.5, reach=2.0)
    memory = list(made.start())
    memory[1] = made.opening + torch.tensor([0, 1.0, -2.0, 1.0, 0, 0.0, -2.0, 0.0, 0])
    states = made.decision(progress_of(1)[0], tuple(memory)).states
    assert states[:, 22].tolist() == [0.5, -1.0, 0.0]


def test_without_draws_the_most_probable_action_is_taken_and_untaught_nothing_moves():
    made = controller()
    memory = made.start()
    decision = made.decision(progress_of(1)[0], memory)
    scores = torch.stack([made._log_probs(decision.states, torch.full((3,), action)) for action in range(3)])
    assert torch.equal(decision.actions, scores.argmax(dim=0))
    untaught = controller(taught=False)
    assert torch.equal(untaught.along(progress_of(5)).detach(), PAIRS.expand(5, -1))
    drawn = untaught(progress_of(5), untaught.begin(1, explores=True))[0]
    assert not torch.equal(drawn.detach(), PAIRS.expand(5, -1))


def test_draws_have_the_probabilities_of_the_policy():
    made, row = controller(), progress_of(1)[0]
    drawn = torch.stack([made.decision(row, made.begin(seed, explores=True)).actions for seed in range(600)])
    states = made.decision(row, made.start()).states
    for action in range(3):
        wanted = made._log_probs(states, torch.full((3,), action)).exp().detach()
        found = (drawn == action).double().mean(dim=0)
        errors = (wanted * (1 - wanted) / 600).sqrt() + 1e-3
        assert ((found - wanted) / errors).abs().max() < 3.5


def test_seeds_and_decisions_have_draws_of_their_own():
    made, progress = controller(taught=False), progress_of(6)
    one, again, other = (made(progress, made.begin(seed, explores=True))[0] for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert len({tuple(move.tolist()) for move in one.detach().diff(dim=0)}) > 2


@pytest.mark.parametrize(("sampled", "drawn"), [(0, False), (1, True)])
def test_a_guiding_controller_draws_where_it_was_told_to(sampled, drawn):
    made = controller(sampled=sampled)
    assert torch.equal(made.begin(5, explores=False)[2], torch.tensor([5 if drawn else -1, 0]))
    assert made.begin(5, explores=True)[2][0] == 5


def test_a_coefficient_carries_the_score_of_its_action():
    made, progress = controller(), progress_of(1)
    memory = made.begin(3, explores=True)
    decision = made.decision(progress[0], memory)
    weights = torch.randn(3, 3)
    found = torch.autograd.grad((made(progress, memory)[0] * weights.flatten()).sum(), list(made.parameters()))
    of_pairs = (weights + weights.t())[[0, 0, 1], [1, 2, 2]]
    wanted = torch.autograd.grad(
        (made._log_probs(decision.states, decision.actions) * of_pairs).sum(), list(made.parameters())
    )
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other)
    assert max(map(torch.Tensor.norm, found)) > 0.1


def test_bounds_hold_along_any_run():
    made = controller(taught=False, beta=0.4, reach=0.9)
    made.bound(torch.full((9,), -0.5), torch.full((9,), 2.0))
    found = torch.stack([made(progress_of(30), made.begin(seed, True))[0].detach() for seed in range(5)])
    off = found.view(5, 30, 3, 3)[..., ~torch.eye(3).bool()]
    assert off.min() == -0.5 and off.max() == pytest.approx(0.9)
    made.bound(torch.full((9,), -math.inf), torch.full((9,), 0.25))
    assert made.opening.max() == 0.25 and made.low.min() == -0.5


def test_it_acts_once_an_interval():
    made = controller(torch.zeros(2), 2, taught=False)
    lesson = ToyLesson(updates=7, interval=3)
    guidance = Guidance(lesson, made, len(FEATURES), opening(lesson, made, explores=True))
    unroll(lesson.student, lesson.rule, guidance.source, lesson.start, 7, observe=guidance.observe)
    found = torch.stack([guidance.coefficients(t) for t in range(7)])
    assert guidance.memory()[2].tolist() == [0, 3]
    for begin in (0, 3, 6):
        assert torch.equal(found[begin : begin + 3], found[begin].expand(len(found[begin : begin + 3]), -1))
    assert guidance.memory(3)[2].tolist() == [0, 1] and len(found.unique(dim=0)) > 1
    assert torch.equal(guidance.memory()[1], found[-1])


@pytest.mark.parametrize("estimator", [Reverse(EpisodePlan(7)), ForwardDifferences(EpisodePlan(7))])
def test_estimators_that_need_derivatives_refuse_it(estimator):
    with pytest.raises(ValueError, match="controller draws its actions, which have no derivative.*reinforce"):
        estimate(estimator, ToyLesson(), controller(torch.zeros(2), 2), len(FEATURES))


def changed(**tensors):
    return lambda state: {**state, **tensors}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda state: {}, "needs tensors that are missing: beta, bias_1"),
        (changed(weight_2=torch.ones(3, 32)), "do not fit one another: weight_2"),
        (changed(weight_1=torch.ones(32, 12)), "do not fit one another: weight_1"),
        (changed(low=torch.ones(4)), "do not fit one another: low"),
        (changed(bias_3=torch.full((3,), math.nan)), "not all finite"),
        (changed(low=torch.full((9,), 0.5)), "starts outside of its bounds"),
        (changed(beta=torch.tensor(-1.0)), "steps are not positive"),
        (
            lambda state: {**state, **{name: torch.zeros(8) for name in ("opening", "low", "high")}},
            "has 8 coefficients, which are no square matrix",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(damage, words):
    with pytest.raises(ValueError, match=words):
        ControllerTeacher.from_tensors(damage(controller().state_dict()))


def test_no_random_numbers_are_drawn_for_a_file():
    state, before = controller().state_dict(), torch.get_rng_state()
    ControllerTeacher.from_tensors(state)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beta": 0.0}, "beta is 0.0, but must be positive"),
        ({"reach": -1.0}, "reach is -1.0, but must be positive"),
        ({"sampled": 2}, "sampled of the teacher controller is 2, but must be 0 or 1"),
        ({"features": 1}, "reads statistics of the student, but there are none"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        controller(**options)
