"""Teachers that `fairseq-train` trains: figures, export, resumption, ways to run an episode, collapse."""

import re
import shutil
from functools import partial

import fairseq.utils
import pytest
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.tasks.translation import TranslationConfig, TranslationTask

import fairseq_dlf.translation.plugins  # noqa: F401
from fairseq_dlf.core.hypergradient.student import Point
from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.teaching.estimators import estimate
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.episodes.checkpoints import StudentCheckpoint, student_of
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.options import student_context
from fairseq_dlf.translation.episodes.precision import require_precision
from fairseq_dlf.translation.regularisers import RegularisedLoss
from tests.end_to_end.commands import (
    PLAIN_TEACHER,
    TEACHING,
    assert_same_parameters,
    last_number,
    moved,
    parameters,
    teach,
    train,
)


def test_a_teacher_learns_and_is_exported(teacher):
    figures = "expected_bleu_before expected_bleu dphi_norm expected_bleu_leverage domega_growth horizon "
    figures += "forward_s reverse_s collapsed"
    for figure in figures.split():
        assert f"{figure}=" in teacher.log
    assert re.search(r"dlf\|estimator:reverse\|steps:3\|.*\|student:[0-9a-f]{8}\|start:warm\|rule:SGD\|", teacher.log)
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
    gradients, device = [], torch.device("cpu")
    for turn in range(2):
        found = estimate(task.lessons.estimator, task.lessons.lesson(0, turn, device), model.teacher, len(FEATURES))
        gradients.append(torch.autograd.grad(found.loss, model.teacher.values)[0])
    assert (gradients[0] - gradients[1]).norm() > 0.1 * gradients[0].norm()
    wanted = -1e4 * (gradients[0] + gradients[1]) / 2
    assert (moved(tmp_path) - wanted).norm() <= 1e-4 * wanted.norm()


EPISODES = {
    "disk": ["--trajectory-storage=disk", "--trajectory-memory=1MB", "--student-optimizer=adamw"],
    "central": ["--curvature=central", "--guard-every=1", "--student-lr-scheduler=cosine"],
    "bf16": ["--student-precision=bf16", "--clip-cotangent=1e-3", "--student-optimizer=nesterov"],
}


def fault_of_bf16(work):
    """Return what this machine's processor lacks to run the warm student in bf16, as the program would say."""
    read = {"dataset_impl": "mmap", "train_subset": "train", "required_seq_len_multiple": 1}
    task = TranslationTask.setup_task(TranslationConfig(data=str(work.bin), **read))
    loss = RegularisedLoss(DynamicLoss(Diagonal(), task.target_dictionary.pad()))
    student = student_of(StudentCheckpoint(str(work.warm), task), loss)
    context = student_context(DlfTeachingConfig(student_precision="bf16"), torch.device("cpu"))
    task.load_dataset("train", epoch=1)
    pairs = task.dataset("train")
    ones = torch.ones(len(task.target_dictionary))
    try:
        require_precision(student.within(context), Point(student.flat_params(), ones, pairs.collater([pairs[0]]), 0))
    except StateError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", EPISODES)
def test_ways_to_run_an_episode(work, tmp_path, name):
    fault = fault_of_bf16(work) if name == "bf16" else ""
    options = ["--student-lr=0.01", *EPISODES[name]]
    if fault:
        assert fault in teach(work, tmp_path, *options, by=partial(train, fails=True))
        pytest.skip(fault)
    printed = teach(work, tmp_path, *options)
    assert moved(tmp_path).isfinite().all() and moved(tmp_path).norm() > 0
    assert re.search(r"trajectory: \d of 3 steps are kept at a time", printed)
    assert "norm of the cotangent before step: 3: " in printed
    guarded = {"disk": 0, "central": 2, "bf16": 2}[name]
    assert printed.count("guard: products of one step against exact ones") == guarded
    signed = {
        "disk": "|rule:Adam(decoupled=on)|",
        "central": "|curvature:CentralDifference",
        "bf16": "_precision:bf16|",
    }
    assert signed[name] in printed


def test_three_collapses_in_a_row_end_the_run_with_advice(work, tmp_path):
    options = [*TEACHING, "--student", work.warm, "--student-lr=1000", "--collapse-share=0.9", "--max-update=5"]
    printed = train(
        work, *options, "--save-dir", tmp_path, "--disable-validation", "--episodes-per-epoch=5", fails=True
    )
    assert printed.count("episode collapsed") == 3
    assert "3 lessons in a row collapsed, the last because " in printed
    assert "Lower --student-lr" in printed
