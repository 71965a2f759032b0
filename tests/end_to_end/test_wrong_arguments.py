"""What `fairseq-train` says to wrong arguments."""

import pytest

from tests.end_to_end.commands import LSTM, SGD, TEACHING, run, train

TEACH = ["--student", "{warm}", *TEACHING, "--max-update=1"]
STUDENT = [*LSTM, *SGD, "--criterion=dlf"]
WRONG = {
    "student missing": ([*TEACH, "--student=none.pt"], "student checkpoint none.pt does not exist"),
    "student missing among several": (
        [*TEACH, "--student={warm},none.pt", "--update-freq=2"],
        "student checkpoint none.pt does not exist",
    ),
    "students of one too few episodes": ([*TEACH, "--student={warm},{warm}"], "pass --update-freq 2 or a multiple"),
    "optimiser of teachers": ([*STUDENT, "--optimizer=dlf_member_adam", "--max-update=1"], "learned of no episode"),
    "no student": ([*TEACH[2:]], "needs --student CHECKPOINT"),
    "student is a teacher": ([*TEACH, "--student={teacher}"], "is of another task, it has no encoder"),
    "student is text": ([*TEACH, "--student=pyproject.toml"], "pyproject.toml is no checkpoint"),
    "another arch": ([*TEACH, "--arch=lstm_dlf_1"], "pass --arch dlf_teacher"),
    "another criterion": ([*TEACH, "--criterion=dlf"], "pass --criterion dlf_teaching"),
    "another task": ([*STUDENT, "--criterion=dlf_teaching", "--max-update=1"], "pass --task dlf_teaching, or"),
    "T": ([*TEACH, "--student-steps=0"], "steps is 0, but must be at least 1 (--student-steps)"),
    "K": ([*TEACH, "--truncate=4"], "to the last 4 steps, but must lie between 0"),
    "N": ([*TEACH, "--teacher-keys=0"], "keys is 0, but must be at least 1 (--teacher-keys)"),
    "student rate": ([*TEACH, "--student-lr=-1"], "--student-lr is -1.0, but must be positive"),
    "momentum": ([*TEACH, "--student-optimizer=momentum", "--student-momentum=1"], "momentum is 1.0"),
    "dropout": ([*TEACH, "--student-dropout=1"], "dropout is 1.0"),
    "share": ([*TEACH, "--ce-share=2"], "ce_share is 2.0"),
    "no processes": ([*TEACH, "--cpu", "--distributed-world-size=2"], "would start no process"),
    "step of differences": ([*TEACH, "--curvature=forward", "--difference-step=0"], "differences is 0.0"),
    "kinks": ([*TEACH, "--curvature=forward", "--allow-kinks=rleu"], "no kinks named ['rleu']"),
    "little memory": ([*TEACH, "--trajectory-memory=1KB"], "one kept step takes"),
    "no size": ([*TEACH, "--trajectory-memory=much"], "'much' is not a size: write it as 2GiB"),
    "two schedules": ([*TEACH, "--trajectory-memory=1GB", "--checkpoint-every=2"], "places the kept states itself"),
    "folder": ([*TEACH, "--trajectory-dir=."], "set its storage to disk"),
    "no folder": ([*TEACH, "--trajectory-storage=disk", "--trajectory-dir=none"], "none for the trajectory does not"),
    "schedule": ([*TEACH, "--student-lr-scheduler=cosin"], "must be one of cosine, dlf_linear_tail, fixed"),
    "guard": ([*TEACH, "--guard-every=-1"], "--guard-every is -1, but must not be negative"),
    "cotangent": (
        [*TEACH, "--clip-cotangent=-1"],
        "cotangent_clip is -1.0, but must not be negative (--clip-cotangent)",
    ),
    "epsilon": ([*TEACH, "--student-optimizer=adam", "--student-adam-eps=0"], "epsilon is 0.0"),
    "start": ([*TEACH, "--student-start=cold"], "invalid choice: 'cold'"),
    "dev too short": ([*TEACH, "--measure-sentences=33"], "33 sentences were asked for, the data set has 32"),
    "candidates": ([*TEACH, "--candidates=1"], "candidates is 1, but must be at least 2 (--candidates)"),
    "teacher missing": ([*STUDENT, "--teacher=none.pt", "--max-update=1"], "--teacher none.pt does not exist"),
    "length unknown": ([*STUDENT, "--teacher={teacher}"], "pass --max-update or --max-epoch"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_named(work, teacher, tmp_path, arguments, message):
    names = {"warm": work.warm, "teacher": teacher.folder / "checkpoint_last.pt"}
    words = [argument.format(**names) for argument in arguments]
    printed = train(work, *words, "--save-dir", tmp_path, fails=True)
    assert message in printed, printed[-1000:]


@pytest.mark.parametrize("task", ["dlf_translation", "dlf_teaching"])
def test_a_missing_data_bin_is_named(work, tmp_path, task):
    options = TEACH if task == "dlf_teaching" else [*STUDENT, f"--task={task}"]
    printed = run(
        "fairseq-train", tmp_path / "none", "--user-dir=fairseq_dlf", *options, "--save-dir", tmp_path, fails=True
    )
    assert "there is no data-bin at" in printed
