"""Lessons of a tiny student on random sentence pairs, without a checkpoint on disk."""

from types import SimpleNamespace

import torch

from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.translation.bleu import progress as bleu_progress
from fairseq_dlf.translation.episodes import member as member_module
from fairseq_dlf.translation.episodes.batches import BatchLimits
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.lessons import Lessons
from tests.translation.conftest import TinyTask, _lstm

CPU = torch.device("cpu")
SMALL = {
    "student": "student.pt",
    "student_steps": 6,
    "student_lr": 0.5,
    "student_dropout": 0.3,
    "measure_sentences": 3,
    "greedy_sentences": 2,
    "progress_sentences": 2,
    "candidates": 2,
    "seed": 7,
    "train_subset": "train",
    "valid_subset": "valid,other",
    "lr": [0.1],
    "update_freq": [1],
    "batch_size": 2,
    "max_tokens": None,
}


class Checkpoint:
    """A student's checkpoint that was never on disk; counts how often one is read. Names of other lengths differ."""

    read = 0

    def __init__(self, path, task):
        type(self).read += 1
        self.task = task
        self.model = self.fresh(99 + len(path) - len(SMALL["student"]))

    def fresh(self, seed):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            return _lstm(self.task, 0.1)


def options(**given) -> DlfTeachingConfig:
    return DlfTeachingConfig(**{**SMALL, **given})


def made_lessons(monkeypatch, workers: Workers | None = None, **given) -> SimpleNamespace:
    """The lessons, their task and their data sets; `given` are options."""
    monkeypatch.setattr(member_module, "StudentCheckpoint", Checkpoint)
    task, cfg = TinyTask(), options(**given)
    data = {"train": task.pairs(9, seed=2), "valid": task.pairs(5, seed=3), "other": None}
    limits = BatchLimits(cfg.batch_size, cfg.max_tokens)
    found = Lessons(task, cfg, workers or Workers(), limits, data.__getitem__)
    return SimpleNamespace(lessons=found, task=task, data=data, cfg=cfg)


def bleu_of_params(monkeypatch) -> list:
    """Replace decoding by a figure of the parameters that are decoded; return the data sets that were asked for."""
    asked = []

    def found(task, model, dataset, indices):
        asked.append(dataset)
        size = sum(float(p.detach().abs().sum()) for p in model.parameters())
        return SimpleNamespace(score=100 * ((size * (1 + len(dataset))) % 1.0))

    monkeypatch.setattr(bleu_progress, "greedy_bleu", found)
    return asked
