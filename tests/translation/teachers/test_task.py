"""The task of teaching: turns, collapses, what survives a resume, exports."""

import os
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from fairseq.models import BaseFairseqModel
from fairseq.tasks.translation import TranslationTask

from fairseq_dlf.core.support.errors import InputError, StateError
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.core.teaching.loop.collapse import CollapsedError
from fairseq_dlf.translation.teachers import exports
from fairseq_dlf.translation.teachers.episodes import EpisodeDataset
from fairseq_dlf.translation.teachers.exports import export_saved
from fairseq_dlf.translation.teachers.member_adam import MemberAdam
from fairseq_dlf.translation.teachers.task import DlfTeachingTask
from fairseq_dlf.translation.teachers.turns import Ending, Turn, Turns
from tests.translation.made_lessons import options
from tests.translation.tiny_runs import dictionary

STUDENT = torch.tensor([1.0, 2.0])


class Run:
    """A task as fairseq's trainer drives it, with episodes that end as they are told to."""

    def __init__(self, monkeypatch, **given):
        self.task = DlfTeachingTask(options(**given), dictionary(), dictionary())
        self.turns, self.stepped = [], []
        self.criterion = SimpleNamespace(ending=None)
        self.model = BaseFairseqModel()
        self.model.parameters = lambda: iter([torch.zeros(1)])
        self.model.keep_bounds = lambda: None

        def train_step(task, sample, model, criterion, optimizer, update, ignore_grad):
            self.turns.append(sample)
            return "loss", 1, {}

        monkeypatch.setattr(TranslationTask, "train_step", train_step)
        monkeypatch.setattr(
            TranslationTask, "optimizer_step", lambda task, optimizer, model, update: self.stepped.append(update)
        )

    def episode(self, update, collapse=None, student=STUDENT):
        self.criterion.ending = Ending(collapse, student)
        return self.task.train_step({"id": 1}, self.model, self.criterion, None, update)

    def step(self, update):
        self.task.optimizer_step(None, self.model, update)

    def update(self, update, *collapses):
        for collapse in collapses:
            self.episode(update, collapse)
        self.step(update)


@pytest.fixture
def run(monkeypatch):
    return lambda **given: Run(monkeypatch, **given)


def test_turns_are_counted_within_an_update(run):
    made = run()
    for update in (3, 3, 4, 4, 4):
        assert made.episode(update) == ("loss", 1, {})
    assert made.turns == [Turn(3, 0, None), Turn(3, 1, None), Turn(4, 0, None), Turn(4, 1, None), Turn(4, 2, None)]


def test_an_update_without_a_good_episode_is_skipped(run):
    made = run()
    made.update(0, None, None)
    made.update(1, "it fell", "it fell")
    made.update(2, "it fell", None)
    made.update(3, "it fell")
    assert made.stepped == [0, 2]


def test_bounds_are_kept_after_an_update_only(run):
    made, calls = run(), []
    inner = torch.nn.Linear(1, 1)
    model = BaseFairseqModel()
    model.keep_bounds = lambda: calls.append(list(made.stepped))
    made.model = SimpleNamespace(parameters=inner.parameters, module=model)
    made.update(0, None)
    made.update(1, "it fell")
    assert calls == [[0]] and made.stepped == [0]


def test_the_third_in_a_row_ends_the_run_with_cause_and_advice(run):
    made = run()
    for update, collapse in enumerate(["a", "b", None, "c", "d"]):
        made.update(update, collapse)
    assert made.task.collapses.in_a_row == 2
    made.episode(5, "it fell")
    with pytest.raises(CollapsedError, match="3 lessons in a row collapsed, .* because it fell. Lower --student-lr or"):
        made.step(5)
    assert made.stepped == [2]


def test_collapses_of_others_count_as_well(run):
    made = run()
    made.task.workers = SimpleNamespace(total=lambda count, device: 0)
    made.update(0, None)
    assert made.task.collapses.in_a_row == 1 and not made.stepped


# Several students --------------------------------------------------------------------


def test_the_episodes_of_an_update_teach_the_members_in_turn(run):
    made = run(student="a.pt,b.pt,c.pt", update_freq=[3])
    for update in (0, 0, 0, 1, 1, 1):
        made.episode(update)
    assert [(turn.turn, turn.member) for turn in made.turns] == 2 * [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("workers", "members"),
    [(Workers(1, 2), [1, 0, 2]), (Workers(2, 3), [2, 2, 2]), (Workers(1, 2, shared=True), [0, 1, 2])],
)
def test_members_are_counted_over_all_workers(workers, members):
    turns = Turns([False] * 3, workers.episode)
    assert [turns.begin(5).member for _ in members] == members


def test_each_member_goes_on_where_it_ended(run, caplog):
    population = {"student": "a.pt,continue:b.pt,continue:c.pt", "update_freq": [3]}
    made = run(**population)
    for member, collapse in enumerate((None, None, "it fell")):
        made.episode(0, collapse, STUDENT + member)
    assert "episode of student 3 collapsed, the teacher does not learn from it: it fell" in caplog.text
    state = made.task.get_checkpoint_dict()["DlfTeachingTask"]
    for again in (made, run(**population)):
        again.task.set_checkpoint_dict(state)
        continued = [again.task.turns.begin(1).continued for _ in range(3)]
        assert continued[0] is None and torch.equal(continued[1], STUDENT + 1) and continued[2] is None


@pytest.mark.parametrize(
    ("workers", "members"), [(Workers(), [0, 1, 0]), (Workers(1, 3, shared=True), [0, 0, 0, 1, 1, 1, 0])]
)
def test_a_validation_has_the_member_of_its_number(run, monkeypatch, workers, members):
    made, found = run(student="a.pt,b.pt", update_freq=[2]), []
    made.task.workers = workers
    monkeypatch.setattr(TranslationTask, "valid_step", lambda task, turn, model, criterion: found.append(turn.member))
    for number in range(len(members)):
        made.task.valid_step({"id": torch.tensor([number])}, None, None)
    assert found == members


def test_only_the_optimiser_of_members_is_told_of_them(run):
    made = run(student="a.pt,b.pt", update_freq=[2])
    optimizer, told = MemberAdam(Namespace(lr=[0.1], adam_betas=(0.9, 0.99), adam_eps=1e-8), [STUDENT]), []
    optimizer.credit = lambda *given: told.append(given)
    made.criterion.ending = Ending(None, STUDENT)
    for ignored in (False, True, False):
        made.task.train_step({"id": 1}, made.model, made.criterion, optimizer, 0, ignored)
    assert told == [(0, 2, 1), (1, 2, 0), (0, 2, 1)]


def test_updates_and_starts_that_do_not_fit_a_population_are_refused(run, monkeypatch):
    with pytest.raises(InputError, match="--student names 2 students, but an update has 1 episodes"):
        run(student="a.pt,b.pt")
    monkeypatch.setattr(Workers, "of_this_run", lambda shared: Workers(0, 2))
    with pytest.raises(InputError, match="--student-start continue keeps each of 2 students"):
        run(student="a.pt,continue:b.pt")


@pytest.mark.parametrize(("start", "kept"), [("continue", True), ("warm", False), ("fresh", False)])
def test_only_runs_that_go_on_keep_the_student(run, start, kept):
    made = run(student_start=start)
    made.episode(0)
    made.episode(1, "it fell", STUDENT + 1)
    assert (made.task.turns.continued.get(0) is STUDENT) == kept
    assert [turn.continued is STUDENT for turn in made.turns] == [False, kept]
    made.episode(2, None, STUDENT + 2)
    assert made.turns[2].continued is (STUDENT if kept else None)


def test_a_resumed_run_goes_on_with_its_student_and_collapses(run):
    made = run(student_start="continue")
    made.update(0, None)
    made.update(1, "a")
    made.update(2, "b")
    state = made.task.get_checkpoint_dict()
    assert set(state) == {"DlfTeachingTask"}
    resumed = run(student_start="continue")
    resumed.task.set_checkpoint_dict(state["DlfTeachingTask"])
    resumed.episode(3, "c")
    assert torch.equal(resumed.turns[0].continued, STUDENT)
    with pytest.raises(CollapsedError):
        resumed.step(3)


def test_the_state_of_the_first_version_is_taken(run):
    made = run()
    made.task.set_checkpoint_dict({"collapses_in_a_row": 2})
    assert made.task.collapses.in_a_row == 2 and not made.task.turns.continued
    assert made.task.get_checkpoint_dict() == {"DlfTeachingTask": {"collapses": {"in_a_row": 2}}}


def test_lessons_need_a_model(run):
    with pytest.raises(StateError, match="build the model first"):
        _ = run().task.lessons


def test_models_and_criterions_of_students_are_refused(run, monkeypatch):
    task = run().task
    monkeypatch.setattr(TranslationTask, "build_model", lambda *a: torch.nn.Linear(1, 1))
    monkeypatch.setattr(TranslationTask, "build_criterion", lambda *a: torch.nn.L1Loss())
    with pytest.raises(InputError, match="--arch builds a Linear: pass --arch dlf_teacher"):
        task.build_model(None)
    with pytest.raises(InputError, match="--criterion builds a L1Loss: pass --criterion dlf_teaching"):
        task.build_criterion(None)


@pytest.mark.parametrize(
    ("number", "shared", "members", "episodes", "validations"),
    [
        (1, False, 1, 10, 1),
        (3, False, 1, 12, 1),
        (5, False, 1, 10, 1),
        (3, True, 1, 30, 3),
        (1, False, 3, 12, 3),
        (4, False, 6, 12, 6),
        (2, True, 3, 24, 6),
    ],
)
def test_no_worker_idles(run, number, shared, members, episodes, validations):
    task = run().task
    task.workers, task.members = SimpleNamespace(number=number, shared=shared), members
    assert (task._episodes_per_epoch(), task._validations()) == (episodes, validations)


def test_episodes_are_known_by_their_numbers():
    dataset = EpisodeDataset([], 3)
    assert [dataset[index] for index in dataset.ordered_indices()] == [0, 1, 2] and len(dataset) == 3
    assert dataset.collater([2]) == {"id": torch.tensor([2]), "nsentences": 1} and dataset.collater([]) == {}
    assert dataset.num_tokens(0) == dataset.size(0) == 1


# Exports ---------------------------------------------------------------------------


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """A folder whose checkpoints are exported by copying their text."""

    def export(checkpoint):
        checkpoint.with_suffix(".safetensors").write_text(checkpoint.read_text())

    monkeypatch.setattr(exports, "export_checkpoint", export)

    def save(name, text, mtime):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (mtime, mtime))
        return tmp_path / name

    return SimpleNamespace(folder=tmp_path, save=save)


def test_what_was_saved_is_exported_and_again_where_it_is_newer(exported):
    exported.save("checkpoint_best.pt", "first", 100)
    export_saved(exported.save("checkpoint1.pt", "first", 100))
    texts = {path.name: path.read_text() for path in exported.folder.glob("*.safetensors")}
    assert texts == {"checkpoint1.safetensors": "first", "checkpoint_best.safetensors": "first"}
    for path in exported.folder.glob("*.safetensors"):
        os.utime(path, (200, 200))
    exported.save("checkpoint_best.pt", "older", 150)
    export_saved(exported.save("checkpoint_last.pt", "second", 300))
    assert (exported.folder / "checkpoint_best.safetensors").read_text() == "first"
    export_saved(exported.save("checkpoint_best.pt", "second", 300))
    assert (exported.folder / "checkpoint_best.safetensors").read_text() == "second"
    assert (exported.folder / "checkpoint_last.safetensors").read_text() == "second"


def test_exports_go_with_their_checkpoints_and_others_stay(exported):
    for name in ("checkpoint1", "checkpoint_1_50", "checkpoint.best_bleu_12.30", "checkpoint_mine", "checkpoint_best"):
        exported.save(f"{name}.safetensors", "old", 100)
    export_saved(exported.save("checkpoint2.pt", "new", 100))
    left = sorted(path.stem for path in exported.folder.glob("*.safetensors"))
    assert left == ["checkpoint2", "checkpoint_best", "checkpoint_mine"]
