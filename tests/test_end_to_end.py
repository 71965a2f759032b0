"""The commands that a user types, on a corpus of a few hundred lines, and how they fail."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import fairseq.utils
import pytest
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

import fairseq_dlf.translation  # noqa: F401

REPOSITORY = Path(__file__).parent.parent
SIZES = {"embed-dim": 32, "hidden-size": 32}
LSTM = [f"--{side}-{name}={size}" for side in ("encoder", "decoder") for name, size in SIZES.items()]
LSTM += ["--decoder-out-embed-dim=32", "--arch=lstm_dlf_1", "--dropout=0.1"]
QUIET = ["--log-format=simple", "--num-workers=0", "--seed=3", "--log-interval=1"]
SGD = ["--optimizer=sgd", "--lr=0.5", "--batch-size=32"]
TEACHING = [
    "--task=dlf_teaching",
    "--arch=dlf_teacher",
    "--criterion=dlf_teaching",
    "--student-steps=3",
    "--student-lr=0.5",
    "--batch-size=8",
    "--measure-sentences=8",
    "--greedy-sentences=16",
    "--progress-sentences=8",
    "--episodes-per-epoch=2",
    "--candidates=4",
    "--optimizer=adam",
    "--lr=0.05",
    "--best-checkpoint-metric=bleu",
    "--maximize-best-checkpoint-metric",
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
# One interpreter has the libraries loaded already; each command is its own process all the same.
MODULES = {
    "fairseq-train": "fairseq_cli.train",
    "fairseq-generate": "fairseq_cli.generate",
    "fairseq-interactive": "fairseq_cli.interactive",
    "fairseq-validate": "fairseq_cli.validate",
    "fairseq-hydra-train": "fairseq_cli.hydra_train",
    "dlf-prepare": "fairseq_dlf.translation.corpus.prepare",
    "dlf-average": "fairseq_dlf.translation.tools.average",
}


def run(command, *arguments, cwd=REPOSITORY, text=None, fails=False):
    """Runs a command as a user would from the repository, and returns all that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", MODULES[command], *map(str, arguments)],
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, printed[-3000:]
    return printed


def train(work, *arguments, fails=False):
    return run("fairseq-train", work.bin, "--user-dir=fairseq_dlf", *QUIET, *arguments, fails=fails)


def parameters(checkpoint):
    return torch.load(checkpoint, weights_only=True)["model"]


def assert_same_parameters(first, second):
    first, second = parameters(first), parameters(second)
    assert set(first) == set(second)
    for name in first:
        assert torch.equal(first[name], second[name]), name


def last_number(name, printed):
    return float(re.findall(rf"\| {name} ([-0-9.]+)", printed)[-1])


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A corpus from the toy grammar, its data-bin, and a warm student."""
    folder = tmp_path_factory.mktemp("work")
    corpus = [sys.executable, REPOSITORY / "recipes/toy_corpus.py", "--out", folder / "raw", "--pairs", "240"]
    subprocess.run([*corpus, "--valid", "32", "--test", "16"], check=True, capture_output=True)
    data = folder / "data"
    run("dlf-prepare", "parallel", "--raw", folder / "raw", "--out", data, "--bpe-tokens", "300")
    work = SimpleNamespace(folder=folder, bin=data / "bin", warm=folder / "warm/checkpoint_last.pt")
    smoothed = ["--criterion=label_smoothed_cross_entropy", "--label-smoothing=0.1", "--optimizer=adam", "--lr=0.02"]
    dev = ["--task=dlf_translation", "--best-checkpoint-metric=bleu", "--maximize-best-checkpoint-metric"]
    save = ["--save-dir", work.warm.parent, "--no-epoch-checkpoints"]
    work.warm_log = train(
        work, *LSTM, *smoothed, *dev, *save, "--max-epoch=20", "--batch-size=16", "--validate-interval=20"
    )
    return work


@pytest.fixture(scope="module")
def teacher(work):
    """A teacher after four episodes; its log and its folder."""
    folder = work.folder / "teacher"
    printed = train(work, *TEACHING, "--student", work.warm, "--max-update=4", "--save-dir", folder)
    return SimpleNamespace(folder=folder, log=printed)


@pytest.fixture(scope="module")
def student(work, teacher):
    """A student taught for sixteen updates, two epochs, and its log."""
    folder = work.folder / "student"
    printed = train(work, *taught(work, teacher), "--save-dir", folder, "--save-interval-updates=6")
    return SimpleNamespace(folder=folder, log=printed, last=folder / "checkpoint_last.pt")


def taught(work, teacher):
    which = ["--teacher", teacher.folder / "checkpoint_best.safetensors", "--progress-sentences=8"]
    return [*LSTM, *SGD, "--criterion=dlf", *which, "--finetune-from-model", work.warm, "--max-update=16"]


def test_validation_reports_expected_and_greedy_bleu(work):
    assert 0 < last_number("expected_bleu", work.warm_log) < 100
    assert last_number("bleu", work.warm_log) > 0
    assert "nrefs:1|case:mixed" in work.warm_log
    assert "ebleu:sample8:a1mean" in work.warm_log


def test_a_teacher_learns_and_is_exported(teacher):
    figures = (
        "expected_bleu_before expected_bleu dphi_norm leverage domega_growth horizon forward_s reverse_s collapsed"
    )
    for figure in figures.split():
        assert f"{figure}=" in teacher.log
    assert re.search(r"dlf\|rmd:T3:K0:exact\|student:[0-9a-f]{8}:warm\|sgd:lr0.5", teacher.log)
    assert last_number("bleu", teacher.log) > 0
    values = parameters(teacher.folder / "checkpoint_last.pt")["teacher.values"]
    assert (values - 1).abs().max() > 0.05
    for name in ("best", "last"):
        assert (teacher.folder / f"checkpoint_{name}.safetensors").exists()


def test_a_resumed_teacher_equals_a_straight_one(work, teacher):
    folder = work.folder / "teacher-resumed"
    folder.mkdir()
    shutil.copy(teacher.folder / "checkpoint1.pt", folder / "checkpoint_last.pt")
    train(work, *TEACHING, "--student", work.warm, "--max-update=4", "--save-dir", folder)
    assert_same_parameters(folder / "checkpoint_last.pt", teacher.folder / "checkpoint_last.pt")


@pytest.mark.parametrize("start", ["continue", "fresh"])
def test_episodes_that_go_on_or_start_anew_resume_bit_for_bit(work, start):
    options = [*TEACHING, "--student", work.warm, f"--student-start={start}", "--max-update=4"]
    options += ["--trajectory=checkpoints", "--student-optimizer=momentum", "--student-clip-norm=1", "--truncate=2"]
    straight, resumed = work.folder / f"{start}-straight", work.folder / f"{start}-resumed"
    train(work, *options, "--save-dir", straight)
    resumed.mkdir()
    shutil.copy(straight / "checkpoint1.pt", resumed / "checkpoint_last.pt")
    train(work, *options, "--save-dir", resumed)
    assert_same_parameters(straight / "checkpoint_last.pt", resumed / "checkpoint_last.pt")


def test_a_taught_student_logs_its_state_and_holds_no_teacher(student):
    for figure in ("phi_mean", "phi_sd", "s_updates", "s_train_bleu", "s_dev_bleu"):
        assert f"{figure}=" in student.log
    state = torch.load(student.last, weights_only=True)
    assert not any("teacher" in name for name in state["model"])
    assert state["criterion"] is None
    progress = dict((name, meter["val"]) for _, name, _, meter in state["extra_state"]["metrics"]["dlf_progress"])
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


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def train_by_two(work, *options):
    """Runs two workers on the CPU, and returns what the first printed."""
    workers = ["--cpu", "--distributed-world-size=2", "--distributed-no-spawn", "--distributed-backend=gloo"]
    workers += ["--ddp-backend=legacy_ddp", f"--distributed-init-method=tcp://127.0.0.1:{free_port()}"]
    with ThreadPoolExecutor(2) as both:
        return list(both.map(lambda rank: train(work, *options, *workers, f"--distributed-rank={rank}"), (0, 1)))[0]


def test_two_workers_train_a_taught_student(work, teacher, tmp_path):
    options = [*taught(work, teacher), "--task=dlf_translation", "--max-update=4", "--save-dir", tmp_path]
    printed = train_by_two(work, *options)
    assert "s_dev_bleu=" in printed
    assert last_number("expected_bleu", printed) > 0
    assert parameters(tmp_path / "checkpoint_last.pt")


# A teacher that moves by its plain gradient, far enough to be seen in float32.
PLAIN_TEACHER = ["--optimizer=sgd", "--lr=1e4", "--student-dropout=0", "--disable-validation", "--no-epoch-checkpoints"]


def moved(folder):
    return parameters(folder / "checkpoint_last.pt")["teacher.values"].double() - 1


def assert_same_move(first, second):
    assert moved(second).norm() > 0.01
    assert (moved(first) - moved(second)).norm() <= 1e-5 * moved(second).norm()


def teach(work, folder, *options, by=train):
    start = [*TEACHING, "--student", work.warm, *PLAIN_TEACHER, "--max-update=2"]
    return by(work, *start, *options, "--save-dir", folder)


@pytest.mark.parametrize("way", ["exact", "forward"])
def test_two_workers_share_an_episode(work, tmp_path, way):
    options = ["--curvature", way, "--batch-size=7", "--measure-sentences=32"]
    teach(work, tmp_path / "one", *options)
    teach(work, tmp_path / "two", *options, "--share-episodes", by=train_by_two)
    # A difference of gradients magnifies the rounding of their sums.
    first, second = moved(tmp_path / "one"), moved(tmp_path / "two")
    assert first.norm() > 0.01
    assert (first - second).norm() <= {"exact": 1e-5, "forward": 2e-2}[way] * first.norm()


def test_two_workers_with_an_episode_each_are_one_with_two(work, tmp_path):
    teach(work, tmp_path / "one", "--update-freq=2", "--episodes-per-epoch=4")
    printed = teach(work, tmp_path / "two", "--episodes-per-epoch=4", by=train_by_two)
    assert_same_move(tmp_path / "two", tmp_path / "one")
    assert ":episodes2|" in printed


def test_an_update_of_two_episodes_is_the_mean_of_both(work, tmp_path):
    teach(work, tmp_path, "--update-freq=2", "--max-update=1")
    start = [*TEACHING, "--student", work.warm, *PLAIN_TEACHER, "--max-update=1", "--seed=3", "--cpu"]
    arguments = [str(work.bin), "--user-dir=fairseq_dlf", *map(str, start)]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))
    fairseq.utils.set_torch_seed(cfg.common.seed)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    task.load_dataset("train")
    task.get_batch_iterator(task.dataset("train"), max_sentences=cfg.dataset.batch_size)
    gradients = []
    for turn in range(2):
        report = task.runner.teach(model, torch.device("cpu"), update=0, turn=turn)
        surrogate = -(model(report.progress) * report.result.hypergradient.coefficients).sum()
        gradients.append(torch.autograd.grad(surrogate, model.teacher.values)[0])
    assert (gradients[0] - gradients[1]).norm() > 0.1 * gradients[0].norm()
    wanted = -1e4 * (gradients[0] + gradients[1]) / 2
    assert (moved(tmp_path) - wanted).norm() <= 1e-4 * wanted.norm()


def test_torchrun_starts_the_workers(work, tmp_path):
    options = [work.bin, "--user-dir=fairseq_dlf", *QUIET, *TEACHING, "--student", work.warm]
    options += [option for option in PLAIN_TEACHER if option != "--disable-validation"]
    options += ["--max-update=1", "--share-episodes", "--save-dir", tmp_path, "--cpu", "--ddp-backend=legacy_ddp"]
    options += ["--distributed-world-size=2", "--distributed-no-spawn", "--distributed-backend=gloo"]
    each = [sys.executable, "-m", MODULES["fairseq-train"], *options, "--distributed-init-method=env://"]
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    command = [*start, "--no-python", "bash", "-c", f"{shlex.join(map(str, each))} --distributed-rank=$RANK"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert ":shared2|" in done.stdout + done.stderr
    assert last_number("bleu", done.stdout + done.stderr) >= 0
    assert moved(tmp_path).norm() > 0.01


EPISODES = {
    "disk": ["--trajectory-storage=disk", "--trajectory-memory=1MB", "--student-optimizer=adamw"],
    "central": ["--curvature=central", "--guard-every=1", "--student-lr-scheduler=cosine"],
    "bf16": ["--student-precision=bf16", "--clip-cotangent=1e-3", "--student-optimizer=nesterov"],
}


@pytest.mark.parametrize("name", EPISODES)
def test_ways_to_run_an_episode(work, tmp_path, name):
    options = ["--student-lr=0.01", *EPISODES[name]]
    printed = teach(work, tmp_path, *options)
    assert moved(tmp_path).isfinite().all() and moved(tmp_path).norm() > 0
    assert re.search(r"trajectory: \d of 3 steps are kept at a time", printed)
    assert "norm of the cotangent before step: 3: " in printed
    guarded = {"disk": 0, "central": 2, "bf16": 1}[name]
    assert printed.count("guard: products of one step against exact ones") == guarded
    signed = {"disk": "|adamw:lr0.01:b0.9,0.999:", "central": ":central:step1e-05|", "bf16": ":bf16:clipcot0.001|"}
    assert signed[name] in printed


def test_decoding_needs_no_teacher(work, student, tmp_path):
    model = tmp_path / "student.pt"
    state = torch.load(student.last, weights_only=True)
    state["cfg"]["criterion"]["teacher"] = "a-file-that-is-gone.safetensors"
    torch.save(state, model)
    user = ["--user-dir=fairseq_dlf", "--path", model, "--beam=2", "--remove-bpe"]
    generated = run("fairseq-generate", work.bin, *user, "--batch-size=16")
    assert len(re.findall(r"^H-\d+", generated, re.M)) == 16
    assert "BLEU4" in generated
    spoken = run("fairseq-interactive", work.bin, *user, text="der hund schläft\n")
    assert re.search(r"^H-0\t", spoken, re.M)
    validated = run(
        "fairseq-validate", work.bin, "--user-dir=fairseq_dlf", "--path", model, "--batch-size=16", "--task=translation"
    )
    assert last_number("nll_loss", validated) > 0


def test_validate_prints_expected_bleu_of_a_checkpoint(work):
    user = ["--user-dir=fairseq_dlf", "--path", work.warm, "--batch-size=16"]
    printed = run("fairseq-validate", work.bin, *user, "--task=dlf_translation")
    wanted = work.warm_log.splitlines()
    wanted = next(line for line in reversed(wanted) if "| valid | epoch" in line)
    assert last_number("expected_bleu", printed) == pytest.approx(last_number("expected_bleu", wanted), abs=2)
    assert last_number("bleu", printed) == last_number("bleu", wanted)
    assert "nrefs:1|case:mixed" in printed


def test_averaged_checkpoints_can_be_decoded(work, student, tmp_path):
    average = tmp_path / "average.pt"
    run("dlf-average", "--inputs", student.folder / "checkpoint1.pt", student.last, "--output", average)
    mean = (parameters(student.folder / "checkpoint1.pt")["decoder.fc_out.bias"].double()) / 2
    mean += parameters(student.last)["decoder.fc_out.bias"].double() / 2
    torch.testing.assert_close(parameters(average)["decoder.fc_out.bias"].double(), mean, rtol=1e-6, atol=1e-7)
    user = ["--user-dir=fairseq_dlf", "--path", average, "--batch-size=16"]
    assert "BLEU4" in run("fairseq-generate", work.bin, *user)


TEACH = ["--student", "{warm}", *TEACHING, "--max-update=1"]
STUDENT = [*LSTM, *SGD, "--criterion=dlf"]
WRONG = {
    "student missing": ([*TEACH, "--student=none.pt"], "student checkpoint none.pt does not exist"),
    "no student": ([*TEACH[2:]], "needs --student CHECKPOINT"),
    "student is a teacher": ([*TEACH, "--student={teacher}"], "is of another task, it has no encoder"),
    "student is text": ([*TEACH, "--student=pyproject.toml"], "cannot be read"),
    "another arch": ([*TEACH, "--arch=lstm_dlf_1"], "pass --arch dlf_teacher"),
    "another criterion": ([*TEACH, "--criterion=dlf"], "pass --criterion dlf_teaching"),
    "another task": ([*STUDENT, "--criterion=dlf_teaching", "--max-update=1"], "pass --task dlf_teaching, or"),
    "T": ([*TEACH, "--student-steps=0"], "0 student steps was asked for"),
    "K": ([*TEACH, "--truncate=4"], "the last 4 steps was asked for"),
    "N": ([*TEACH, "--teacher-keys=0"], "--teacher-keys is 0"),
    "student rate": ([*TEACH, "--student-lr=-1"], "--student-lr is -1.0, but must be positive"),
    "momentum": ([*TEACH, "--student-optimizer=momentum", "--student-momentum=1"], "momentum is 1.0"),
    "dropout": ([*TEACH, "--student-dropout=1"], "dropout is 1.0"),
    "share": ([*TEACH, "--ce-share=2"], "ce_share is 2.0"),
    "no processes": ([*TEACH, "--cpu", "--distributed-world-size=2"], "would start no process"),
    "step of differences": ([*TEACH, "--curvature=forward", "--difference-step=0"], "differences is 0.0"),
    "kinks": ([*TEACH, "--curvature=forward", "--allow-kinks=rleu"], "no kinks named ['rleu']"),
    "little memory": ([*TEACH, "--trajectory-memory=1KB"], "one kept step takes"),
    "no size": ([*TEACH, "--trajectory-memory=much"], "'much' is not one: write it as 2GiB"),
    "two schedules": ([*TEACH, "--trajectory-memory=1GB", "--checkpoint-every=2"], "places the kept states itself"),
    "folder": ([*TEACH, "--trajectory-dir=."], "set it to disk"),
    "no folder": ([*TEACH, "--trajectory-storage=disk", "--trajectory-dir=none"], "none for the trajectory does not"),
    "schedule": ([*TEACH, "--student-lr-scheduler=cosin"], "must be one of cosine, fixed"),
    "guard": ([*TEACH, "--guard-every=-1"], "--guard-every is -1, but must not be negative"),
    "cotangent": ([*TEACH, "--clip-cotangent=-1"], "clip of the cotangent is -1.0"),
    "epsilon": ([*TEACH, "--student-optimizer=adam", "--student-adam-eps=0"], "epsilon is 0.0"),
    "start": ([*TEACH, "--student-start=cold"], "invalid choice: 'cold'"),
    "dev too short": ([*TEACH, "--measure-sentences=33"], "33 sentences were asked for, the data set has 32"),
    "candidates": ([*TEACH, "--candidates=1"], "needs at least 2"),
    "teacher missing": ([*STUDENT, "--teacher=none.pt", "--max-update=1"], "teacher file none.pt does not exist"),
    "length unknown": ([*STUDENT, "--teacher={teacher}"], "pass --max-update or --max-epoch"),
}


# Runs fairseq-train for each list of arguments, in one process for speed, and prints each error.
EACH = """
import io, json, sys
from contextlib import redirect_stderr
from fairseq_cli.train import cli_main
errors = []
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    written = io.StringIO()
    try:
        with redirect_stderr(written):
            cli_main()
        errors.append("it ran")
    except SystemExit:
        errors.append(written.getvalue())
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}")
print("ERRORS" + json.dumps(errors))
"""


@pytest.fixture(scope="module")
def errors(work, teacher, tmp_path_factory):
    """What each wrong command says, by its name in WRONG."""
    names = {"warm": work.warm, "teacher": teacher.folder / "checkpoint_last.pt"}
    save = ["--save-dir", str(tmp_path_factory.mktemp("wrong"))]
    start = [str(work.bin), "--user-dir=fairseq_dlf", *QUIET]
    commands = [[*start, *(a.format(**names) for a in arguments), *save] for arguments, _ in WRONG.values()]
    command = [sys.executable, "-c", EACH, json.dumps(commands)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert "ERRORS" in done.stdout, done.stderr[-3000:]
    return dict(zip(WRONG, json.loads(done.stdout.split("ERRORS")[1]), strict=True))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(errors, name):
    assert WRONG[name][1] in errors[name]


@pytest.mark.parametrize("task", ["dlf_translation", "dlf_teaching"])
def test_a_missing_data_bin_is_named(work, tmp_path, task):
    options = TEACH if task == "dlf_teaching" else [*STUDENT, f"--task={task}"]
    printed = run(
        "fairseq-train", tmp_path / "none", "--user-dir=fairseq_dlf", *options, "--save-dir", tmp_path, fails=True
    )
    assert "there is no data-bin at" in printed


def test_three_collapses_in_a_row_end_the_run_with_advice(work, tmp_path):
    options = [*TEACHING, "--student", work.warm, "--student-lr=1000", "--collapse-share=0.9", "--max-update=5"]
    printed = train(
        work, *options, "--save-dir", tmp_path, "--disable-validation", "--episodes-per-epoch=5", fails=True
    )
    assert printed.count("episode collapsed") == 3
    assert "3 updates in a row had no episode that did not collapse" in printed
    assert "Lower --student-lr" in printed
