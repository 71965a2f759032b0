"""The rate that is constant, then falls linearly: closed form, in fairseq's runs, wrong options."""

from argparse import Namespace

import pytest
import torch
from fairseq.optim.sgd import SGD

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.students.schedules import LinearTail
from tests.translation.tiny_runs import STUDENT, parameters, train


def schedule(**options):
    cfg = {"tail_share": 1 / 3, "final_lr_share": 0.05, "warmup_updates": 0, "max_update": 900, "lr": [2.0]}
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = SGD(Namespace(lr=[2.0], momentum=0.0, weight_decay=0.0), [weight])
    return LinearTail(Namespace(**(cfg | options)), optimizer)


@pytest.mark.parametrize(
    ("updates", "rate"),
    [(0, 2.0), (1, 2.0), (599, 2.0), (600, 2.0), (601, 2.0 - 1.9 / 300), (750, 1.05), (899, 0.1 + 1.9 / 300)]
    + [(900, 0.1), (1000, 0.1)],
)
def test_rates_at_the_start_the_knee_and_the_end(updates, rate):
    made = schedule()
    assert made.step_update(updates) == pytest.approx(rate, rel=1e-12)
    assert made.optimizer.get_lr() == made.rate(updates)


def test_the_rate_is_set_when_the_schedule_is_built():
    assert schedule(warmup_updates=4).optimizer.get_lr() == 0.5


def test_falls_in_equal_steps_between_constant_parts():
    rates = [schedule(max_update=10, tail_share=0.5, final_lr_share=0.2).rate(updates) for updates in range(13)]
    wanted = [2.0] * 6 + [1.68, 1.36, 1.04, 0.72, 0.4, 0.4, 0.4]
    assert rates == pytest.approx(wanted, rel=1e-12)


def test_limits_of_the_shares():
    assert [schedule(tail_share=1.0, final_lr_share=0.0).rate(updates) for updates in (0, 450, 900)] == [2.0, 1.0, 0.0]
    assert {schedule(final_lr_share=1.0).rate(updates) for updates in range(0, 1000, 50)} == {2.0}


def test_warms_up():
    rates = [schedule(warmup_updates=4).rate(updates) for updates in range(6)]
    assert rates == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tail_share": 0.0}, "tail_share is 0.0, but must be positive"),
        ({"tail_share": 1.5}, "tail_share is 1.5, but must lie between 0 and 1"),
        ({"final_lr_share": -0.1}, "final_lr_share is -0.1, but must lie between 0 and 1"),
        ({"final_lr_share": float("nan")}, "final_lr_share is nan"),
        ({"warmup_updates": -1}, "warmup_updates is -1, but must not be negative"),
        ({"max_update": 0}, "whose length is unknown: pass --max-update"),
        ({"lr": [1.0, 2.0]}, "takes one learning rate, but --lr has 2"),
    ],
)
def test_names_wrong_options(options, words):
    with pytest.raises(InputError, match=words):
        schedule(**options)


# In fairseq-train -------------------------------------------------------------

TAIL = [*STUDENT, "--task=dlf_translation", "--no-dev-bleu", "--disable-validation", "--max-update=6"]
TAIL += ["--lr-scheduler=dlf_linear_tail", "--tail-share=0.5"]


@pytest.fixture
def used(monkeypatch):
    """Rates of the updates that a run makes."""
    rates, step = [], SGD.step

    def watched(self, *arguments, **by_name):
        rates.append(self.get_lr())
        return step(self, *arguments, **by_name)

    monkeypatch.setattr(SGD, "step", watched)
    return rates


def test_a_run_and_its_resume_have_the_same_rates(data, tmp_path, used):
    train(data, tmp_path / "straight", *TAIL, "--save-interval-updates=1")
    straight = list(used)
    assert straight == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.5 * 0.05 + 0.95 / 3, 0.5 * 0.05 + 0.95 / 6])
    for name in ("checkpoint_1_2.pt", "checkpoint_2_5.pt"):
        used.clear()
        resumed = tmp_path / name
        resumed.mkdir()
        (resumed / "checkpoint_last.pt").write_bytes((tmp_path / "straight" / name).read_bytes())
        train(data, resumed, *TAIL)
        assert used == straight[-len(used) :]
        assert len(used) == 6 - int(name[-4])
        mine, wanted = (parameters(folder / "checkpoint_last.pt") for folder in (resumed, tmp_path / "straight"))
        assert all(torch.equal(mine[key], wanted[key]) for key in wanted)


def test_a_run_of_unknown_length_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="pass --max-update"):
        train(data, tmp_path, *TAIL, "--max-update=0", "--max-epoch=1")
