"""A tiny student with batches and an iterator over them, and the steps that fairseq's trainer would take."""

from types import SimpleNamespace

import numpy as np
import torch
from fairseq.data.iterators import EpochBatchIterator


def with_batches(built, pairs=None):
    """Give a tiny student (see `tiny`) a batch with padding, and a training set of four batches."""
    pairs = pairs or built.task.pairs(8, seed=2)
    built.batch = pairs.collater([pairs[i] for i in range(4)])
    built.task.datasets = {"train": pairs, "valid": built.task.pairs(6, seed=3)}
    batches = [np.array([2 * i, 2 * i + 1]) for i in range(4)]
    built.iterator = EpochBatchIterator(pairs, pairs.collater, batches)
    built.task.dataset_to_epoch_iter = {pairs: built.iterator}
    built.padding = built.task.target_dictionary.pad()
    assert (built.batch["target"] == built.padding).any()
    return built


def step(built, criterion, update, batch=None):
    """One train step as fairseq's trainer takes it, but for the optimiser; returns what is logged."""
    optimizer = SimpleNamespace(backward=lambda loss: loss.backward())
    built.model.train()
    return built.task.train_step(batch or built.batch, built.model, criterion, optimizer, update)[2]


def gradients(built, loss):
    """The gradient of a loss in all parameters of the student, flat."""
    found = torch.autograd.grad(loss, list(built.model.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in found])
