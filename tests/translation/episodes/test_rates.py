"""Rates of an episode against the schedules' formulas."""

import math

import pytest

import fairseq_dlf.translation.plugins  # noqa: F401
from fairseq_dlf.translation.episodes.rates import student_rates

RATES = {
    "fixed": ("", [2.0] * 6),
    "fixed with warm-up": ("warmup_updates=2", [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]),
    "fixed by epoch": ("force_anneal=1,lr_shrink=0.5", [1.0, 1.0, 1.0, 0.5, 0.5, 0.5]),
    "cosine": ("", [1 + math.cos(math.pi * t / 6) for t in range(6)]),
    "polynomial_decay": ("", [2 * (1 - t / 6) for t in range(6)]),
    "dlf_linear_tail": ("", [2.0] * 5 + [0.1 + 1.9 / 2]),
    "dlf_linear_tail with options": ("tail_share=0.5,final_lr_share=0", [2.0, 2.0, 2.0, 2.0, 4 / 3, 2 / 3]),
    "inverse_sqrt": ("warmup_updates=4", [0.0, 0.5, 1.0, 1.5, 2.0, 2.0 * (4 / 5) ** 0.5]),
}


@pytest.mark.parametrize("name", RATES)
def test_follows_the_schedule(name):
    settings, wanted = RATES[name]
    assert student_rates(name.split()[0], settings, 2.0, steps=6, epoch_steps=3) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("scheduler", "settings", "words"),
    [
        ("linear", "", "is linear, but must be one of cosine, dlf_linear_tail, fixed"),
        ("reduce_lr_on_plateau", "", "must be one of"),
        ("cosine", "warmup=3", "have 'warmup=3', but cosine takes"),
        ("cosine", "lr=3", "have 'lr=3'"),
        ("cosine", "warmup_updates=few", "'warmup_updates=few', whose value is not a number"),
        ("triangular", "", "needs the options max_lr=…"),
        ("dlf_linear_tail", "tail=0.5", "have 'tail=0.5', but dlf_linear_tail takes final_lr_share, max_update, tail"),
        ("dlf_linear_tail", "tail_share=2", "'tail_share=2' do not suit the schedule dlf_linear_tail: tail_share is 2"),
        ("tri_stage", "", "do not suit the schedule tri_stage: please specify"),
    ],
)
def test_names_what_is_wrong(scheduler, settings, words):
    with pytest.raises(ValueError, match=words):
        student_rates(scheduler, settings, 1.0, steps=4, epoch_steps=2)
