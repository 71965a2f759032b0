"""Adaptation in a run that another trainer makes: what is asked when, what is learned, guidance alone, resuming."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.teaching.estimators import Reinforce
from fairseq_dlf.core.teaching.loop.online import OnlineAdaptation
from fairseq_dlf.core.teaching.teachers import CoefficientController

START = torch.tensor([1.0, 0.0])
UPDATES, WINDOW = 24, 4


class MadeStudent:
    """Figures that depend on Φ so far, and a list of what was asked."""

    def __init__(self):
        self.trained, self.asked = 0.0, []

    def train(self, coefficients):
        self.trained += float(coefficients[0] - coefficients[1])

    def statistics(self):
        self.asked.append("statistics")
        return torch.tensor([0.5 + 0.01 * self.trained, 1.0 - 0.01 * self.trained], dtype=torch.float64)

    def measure(self):
        self.asked.append("measure")
        return -((self.trained - 30) ** 2)


def adaptation(rate=0.05, points=1, window=WINDOW, dtype=torch.float32, **options):
    torch.manual_seed(2)
    teacher = CoefficientController.untaught(START.to(dtype), 3, beta=0.25)
    options = {"replay": 6, "minibatch": 3, **options}
    return OnlineAdaptation(teacher, Reinforce(EpisodePlan(window), points=points, **options), window, rate, seed=9)


def trained(made, student, updates):
    """Train like a trainer that asks twice before each update, as for accumulated gradients; return Φ of each."""
    path = []
    for update in updates:
        made.advance(update, update / UPDATES, student)
        assert not made.advance(update, update / UPDATES, student)
        student.train(made.coefficients)
        path.append(made.coefficients.clone())
    return torch.stack(path)


@pytest.mark.parametrize("points", [1, 2])
def test_the_student_is_looked_at_where_that_is_due(points):
    made, asked = adaptation(points=points), []
    for update in range(9):
        student = MadeStudent()
        assert made.advance(update, update / 9, student) == bool(student.asked)
        asked.append(student.asked)
    both = ["measure", "statistics"]
    half = ["measure"] if points == 2 else []
    assert asked == [both, [], half, [], both, [], half, [], both]
    assert made.begun == 8


def test_coefficients_change_at_windows_only_and_by_beta():
    path = trained(adaptation(), MadeStudent(), range(UPDATES))
    windows = path.view(-1, WINDOW, 2)
    assert torch.equal(windows, windows[:, :1].expand_as(windows))
    moves = torch.cat([windows[:1, 0] - START, windows[:, 0].diff(dim=0)])
    assert set(moves.flatten().tolist()) == {-0.25, 0.0, 0.25}


def test_it_learns_what_reinforce_learns_of_the_same_records():
    """Rewards, baseline, records and θ, written out beside the loop, in float64."""
    made, student = adaptation(dtype=torch.float64), MadeStudent()
    torch.manual_seed(2)
    teacher = CoefficientController.untaught(START.double(), 3, beta=0.25)
    optimizer, memory, records, average = torch.optim.Adam(teacher.parameters(), 0.05), teacher.begin(9, True), [], 0.0
    reached, decision = None, None
    for update in range(UPDATES):
        if update % WINDOW == 0:
            before, reached = reached, student.measure()
            if before is not None:
                reward = (reached > before) - (reached < before)
                log_prob = float(teacher.log_prob(*decision))
                records = [*records, (decision, log_prob, reward - average)][-6:]
                average = 0.9 * average + 0.1 * reward
                draws = torch.Generator().manual_seed(mixed_seed(9, update // WINDOW))
                loss = 0.0
                for place in torch.randint(len(records), (3,), generator=draws).tolist():
                    (states, actions), then, advantage = records[place]
                    score = teacher.log_prob(states, actions)
                    weight = min(10.0, (score.detach() - then).exp().item())
                    loss = loss - weight * advantage * score / 3
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            progress = torch.cat([torch.tensor([update / UPDATES], dtype=torch.float64), student.statistics()])
            decision = teacher.decision(progress, memory)
            phi, memory = teacher(progress.unsqueeze(0), memory)
        made.advance(update, update / UPDATES, student)
        torch.testing.assert_close(made.coefficients, phi[0].detach(), rtol=0, atol=1e-10)
        student.train(made.coefficients)
        if update >= WINDOW:
            assert (made.figures.reached, made.figures.reward) == (reached, reward)
            assert made.figures.baseline == pytest.approx(average, abs=1e-10)
    untaught = adaptation(dtype=torch.float64).teacher
    assert (
        max(float((a - b).abs().max()) for a, b in zip(teacher.parameters(), untaught.parameters(), strict=True)) > 0.01
    )
    for mine, wanted in zip(made.teacher.parameters(), teacher.parameters(), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=0, atol=1e-10)


def test_places_within_a_window_are_discounted():
    made, values = adaptation(points=2, gamma=0.5), iter([0.5, 0.9, 0.3, 0.9, 0.31])
    student = MadeStudent()
    student.measure = lambda: next(values)
    trained(made, student, range(9))
    # (0.5 · 0.9 + 0.3) / 1.5 and (0.5 · 0.9 + 0.31) / 1.5; the first is no change.
    assert made.figures.reached == pytest.approx(0.76 / 1.5, abs=1e-12)
    assert [record.reward for record in made.estimator.memory.records] == [0.0, 1.0]


def test_without_a_rate_it_guides_without_draws_and_learns_nothing():
    made = adaptation(rate=0.0)
    before = {name: tensor.clone() for name, tensor in made.teacher.state_dict().items()}
    path = trained(made, MadeStudent(), range(UPDATES))
    assert torch.equal(path, START.expand_as(path))  # untaught, the most probable action is to stay
    assert all(torch.equal(before[name], tensor) for name, tensor in made.teacher.state_dict().items())


@pytest.mark.parametrize("half", [1, 4, 10, 13])
@pytest.mark.parametrize("points", [1, 2])
def test_a_resumed_run_equals_a_straight_one(half, points, tmp_path):
    straight, student = adaptation(points=points), MadeStudent()
    wanted = trained(straight, student, range(UPDATES))
    first, student = adaptation(points=points), MadeStudent()
    begun = trained(first, student, range(half))
    torch.save(first.state(), tmp_path / "state.pt")
    second = adaptation(points=points)
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(torch.cat([begun, trained(second, student, range(half, UPDATES))]), wanted)
    assert second.figures == straight.figures
    for mine, other in zip(second.teacher.parameters(), straight.teacher.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_state_of_another_policy_is_refused():
    made = adaptation()
    made.advance(0, 0.0, MadeStudent())
    state = made.state()
    other = OnlineAdaptation(
        CoefficientController.untaught(torch.ones(3), 4), Reinforce(EpisodePlan(WINDOW)), WINDOW, 0.05, seed=9
    )
    with pytest.raises(
        InputError, match="policy of the run that is resumed does not fit this one .*: pass the options"
    ):
        other.restore(state)
    with pytest.raises(InputError, match="does not fit this one"):
        adaptation().restore({name: value for name, value in state.items() if name != "values"})


@pytest.mark.parametrize(("options", "words"), [({"window": 0}, "window is 0"), ({"rate": -1.0}, "rate is -1.0")])
def test_wrong_settings_are_named(options, words):
    made, given = adaptation(), {"window": WINDOW, "rate": 0.1, **options}
    with pytest.raises(InputError, match=words):
        OnlineAdaptation(made.teacher, made.estimator, **given, seed=1)
