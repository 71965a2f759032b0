"""Training logs in both formats, with interruptions, validations and divergence."""

import pytest

from experiments.logs import Validation, parse_log, parse_validation, read_log
from fairseq_dlf.core.support.errors import StateError

START = "2026-01-01 10:00:00 | INFO | fairseq_cli.train | training on 1 devices (GPUs/TPUs)"
DONE = "2026-01-01 10:20:00 | INFO | fairseq_cli.train | done training in 120.0 seconds"
NOISE = "/somewhere/compose.py:56: UserWarning: \nThe strict flag in the compose API is deprecated."


def inner(update, ups=2.0, train_wall=50):
    return (
        f'2026-01-01 10:01:00 | INFO | train_inner | {{"epoch": 1, "update": 0.1, "loss": "4.5", "nll_loss": "3.4", '
        f'"ups": "{ups}", "num_updates": "{update}", "lr": "0.3", "train_wall": "{train_wall}", "wall": "{update}"}}'
    )


def valid(update, bleu, loss=4.0):
    return (
        f'2026-01-01 10:02:00 | INFO | valid | {{"epoch": 1, "valid_loss": "{loss}", "valid_nll_loss": "2.9", '
        f'"valid_ppl": "7.5", "valid_bleu": "{bleu}", "valid_expected_bleu": "31.5", "valid_num_updates": "{update}", '
        f'"valid_best_bleu": "99"}}'
    )


def parsed(*lines):
    return parse_log("\n".join([NOISE, *lines]))


def test_json():
    found = parsed(START, inner(100), inner(200), valid(200, 37.5), inner(300), valid(302, 37.9, 3.9), DONE)
    assert found.curve == (Validation(200, 37.5, 4.0, 2.9, 31.5), Validation(302, 37.9, 3.9, 2.9, 31.5))
    assert found.best == found.curve[1]
    assert (found.finished, found.diverged, found.wall_s) == (True, False, 300.0)
    assert found.train["loss"] == 4.5
    assert found.train["train_wall"] == 50


def test_an_epoch_in_json_has_its_name_before_every_figure():
    epoch = (
        '2026-01-01 10:03:00 | INFO | train | {"epoch": 1, "train_loss": "5.1", "train_train_wall": "32", '
        '"train_wall": "71", "train_num_updates": "18"}'
    )
    found = parsed(START, epoch)
    assert (found.wall_s, found.train["train_wall"], found.train["loss"]) == (71.0, 32.0, 5.1)


def test_simple():
    found = parsed(
        START,
        "2026-01-01 10:01:00 | INFO | train_inner | epoch 004:    169 / 277 loss=4.598, nll_loss=3.428, ups=2.5, "
        "num_updates=100, lr=0.002, train_wall=39, wall=387",
        "2026-01-01 10:02:00 | INFO | valid | epoch 004 | valid on 'valid' subset | loss 4.262 | nll_loss 3.017 | "
        "ppl 8.1 | bleu 32.02 | wps 4676.3 | num_updates 108 | best_bleu 33",
        "2026-01-01 10:02:00 | INFO | train | epoch 004 | loss 4.656 | ups 2.49 | num_updates 108 | wall 432",
    )
    assert found.curve == (Validation(108, 32.02, 4.262, 3.017),)
    assert (found.train["loss"], found.wall_s, found.step_s, found.finished) == (4.656, 432.0, 0.4, False)


def test_what_a_resumed_run_repeats_replaces_what_it_had():
    found = parsed(START, valid(302, 20.0), valid(604, 21.0), START, valid(604, 25.0), valid(906, 24.0), DONE)
    assert [(each.update, each.bleu) for each in found.curve] == [(302, 20.0), (604, 25.0), (906, 24.0)]


def test_only_the_last_process_tells_whether_it_finished():
    assert not parsed(START, DONE, START, valid(302, 20.0)).finished
    assert parsed(START, "Traceback", START, DONE).finished


def test_the_first_of_equal_validations_is_the_best():
    best = parsed(START, valid(302, 20.0), valid(604, 22.0), valid(906, 22.0)).best
    assert best is not None
    assert best.update == 604
    assert parsed(START).best is None


@pytest.mark.parametrize(
    "lines, seconds",
    [
        # 2, 4 and 5 updates a second; the third interval has a validation within and does not count.
        ([START, inner(100, 2.0), inner(200, 4.0), valid(250, 1), inner(300, 0.5), inner(400, 5.0)], 0.25),
        # Slow steps: seconds of training alone, whatever lies between.
        ([START, inner(100, 0.3, 250), valid(150, 1), inner(200, 0.1, 260)], 2.55),
        # After a resume it is not known how many updates the first line covers.
        ([START, inner(100, 2.0), START, inner(200, 9.0, 300), inner(300, 2.0)], 0.5),
        ([START, valid(3, 1)], None),
    ],
    ids=["fast", "slow", "resumed", "none"],
)
def test_seconds_a_step(lines, seconds):
    assert parsed(*lines).step_s == seconds


def test_divergence():
    found = parsed(START, valid(302, 20.0), "FloatingPointError: gradients are Nan/Inf")
    assert (found.diverged, found.finished) == (True, False)
    assert not parsed(START, "FloatingPointError", START, DONE).diverged


def test_a_line_that_a_kill_cut_off_is_left_out():
    assert parsed(START, valid(302, 20.0), valid(604, 21.0)[:150]).curve[-1].update == 302


def test_figures_that_are_not_finite_are_left_out():
    assert parsed(START, valid(302, 20.0, "nan")).curve[0].loss is None


def test_no_log_is_a_training_that_has_not_begun(tmp_path):
    found = read_log(tmp_path / "train.log")
    assert (found.curve, found.finished, found.step_s) == ((), False, None)


def test_what_fairseq_validate_prints():
    line = "now | INFO | valid | valid on 'valid' subset | loss 3.668 | nll_loss 2.297 | ppl 4.91 | bleu 37.56 | wps 0"
    assert parse_validation(f"{NOISE}\n{line}", 12) == Validation(12, 37.56, 3.668, 2.297)
    for text in ("", line.replace("bleu", "other")):
        with pytest.raises(StateError, match="no BLEU"):
            parse_validation(text, 12)
