"""Students that `fairseq-train` trains: what they log and keep, resumption, constant coefficients."""

import shutil

import torch

from tests.end_to_end.commands import LSTM, SGD, assert_same_parameters, last_number, taught, train


def test_validation_reports_expected_and_greedy_bleu(work):
    assert 0 < last_number("expected_bleu", work.warm_log) < 100
    assert last_number("bleu", work.warm_log) > 0
    assert "nrefs:1|case:mixed" in work.warm_log
    assert "ebleu|candidates:8|method:sample|" in work.warm_log


def test_a_taught_student_logs_its_state_and_holds_no_teacher(student):
    for figure in ("phi_mean", "phi_sd", "s_updates", "s_train_bleu", "s_dev_bleu"):
        assert f"{figure}=" in student.log
    state = torch.load(student.last, weights_only=True)
    assert not any("teacher" in name for name in state["model"])
    assert state["criterion"] is None
    progress = state["extra_state"]["dlf_state"]["progress"]
    assert progress["updates"] == 8
    assert 0 <= progress["dev_bleu"] < 1


def test_a_resumed_student_equals_a_straight_one(work, teacher, student):
    folder = work.folder / "student-resumed"
    folder.mkdir()
    shutil.copy(student.folder / "checkpoint_1_6.pt", folder / "checkpoint_last.pt")
    # A resume keeps the optimiser, which --finetune-from-model would reset.
    printed = train(work, *taught(work, teacher), "--save-dir", folder, "--save-interval-updates=6")
    assert "Loaded checkpoint" in printed
    assert_same_parameters(folder / "checkpoint_last.pt", student.last)


def test_constant_coefficients_with_accumulated_gradients(work):
    options = [*LSTM, *SGD, "--criterion=dlf_criterion", "--coefficients=2", "--ce-share=0.5", "--label-smoothing=0.1"]
    folder = work.folder / "constant"
    printed = train(work, *options, "--update-freq=2", "--max-update=3", "--save-dir", folder, "--no-save")
    assert "phi_mean=2" in printed
    assert last_number("nll_loss", printed) > 0
