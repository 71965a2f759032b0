"""The student's batches, and each worker's part of them."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.episodes.batches import BatchLimits, StudentBatches, micro_batches
from fairseq_dlf.translation.episodes.checkpoints import translation_objective
from fairseq_dlf.translation.regularisers import RegularisedLoss
from tests.translation.conftest import TinyTask


def batches_of(limits, workers=None, seed=1, max_positions=None, pairs=None) -> StudentBatches:
    pairs = TinyTask().pairs(11, seed=4) if pairs is None else pairs
    return StudentBatches(pairs, limits, max_positions, workers or Workers(), seed)


def ids(batch) -> list[int]:
    return sorted(batch["id"].tolist())


@pytest.mark.parametrize("sentences", [1, 3, 20])
def test_batches_hold_every_pair_once_within_the_limit_of_sentences(sentences):
    batches = batches_of(BatchLimits(sentences, None))
    found = [ids(batches[number]) for number in range(len(batches))]
    assert sorted(sum(found, [])) == list(range(11))
    assert max(map(len, found)) == min(sentences, 11)


def test_the_limit_of_tokens_counts_padding():
    batches = batches_of(BatchLimits(None, 14))
    for number in range(len(batches)):
        batch = batches[number]
        assert max(batch["target"].numel(), batch["net_input"]["src_tokens"].numel()) <= 14
    assert 1 < len(batches) < 11


def test_pairs_that_the_model_does_not_take_are_left_out():
    pairs = TinyTask().pairs(11, seed=4)
    batches = batches_of(BatchLimits(3, None), pairs=pairs, max_positions=(4, 4))
    found = sorted(sum((ids(batches[number]) for number in range(len(batches))), []))
    assert found == [i for i in range(11) if len(pairs[i]["source"]) <= 4 and len(pairs[i]["target"]) <= 4]
    assert 0 < len(found) < 11


def test_the_order_goes_through_all_batches_before_one_comes_again():
    batches = batches_of(BatchLimits(2, None))
    number = len(batches)
    order = batches.order(2 * number + 1, seed=5)
    assert sorted(order[:number]) == sorted(order[number : 2 * number]) == list(range(number))
    assert order[:number] != order[number : 2 * number] and len(order) == 2 * number + 1
    assert order == batches.order(2 * number + 1, seed=5) != batches.order(2 * number + 1, seed=6)


def test_the_seed_orders_pairs_of_one_length():
    task = TinyTask()
    pairs = task.pairs(40, seed=4, longest=1)
    first, same, second = (batches_of(BatchLimits(4, None), seed=seed, pairs=pairs) for seed in (1, 1, 2))
    every = [[ids(batches[number]) for number in range(len(batches))] for batches in (first, same, second)]
    assert every[0] == every[1] or not pairs.shuffle
    assert len(first) == 10


def test_workers_that_share_take_their_part_and_count_the_tokens_of_all():
    limits = BatchLimits(3, None)
    whole = batches_of(limits)
    parts = [batches_of(limits, Workers(rank, 2, shared=True)) for rank in (0, 1)]
    for number in range(len(whole)):
        mine, theirs = (part[number] for part in parts)
        if len(whole[number]["id"]) > 1:
            assert sorted(ids(mine) + ids(theirs)) == ids(whole[number])
            assert mine["ntokens"] == theirs["ntokens"] == whole[number]["ntokens"]


def test_a_worker_without_a_sentence_has_one_of_no_weight():
    batch = batches_of(BatchLimits(1, None), Workers(1, 2, shared=True))[0]
    assert len(batch["id"]) == 1 and batch["ntokens"] == float("inf")
    assert float(torch.tensor(3.0) / batch["ntokens"]) == 0.0


def test_workers_with_an_episode_each_take_whole_batches():
    limits = BatchLimits(3, None)
    assert ids(batches_of(limits, Workers(1, 2))[0]) == ids(batches_of(limits)[0])


def test_the_signature_names_both_limits():
    assert BatchLimits(3, None).signature == {"batch_size": 3, "max_tokens": None}


# Micro-batches ------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "sizes"), [(1, [7]), (3, [3, 2, 2]), (9, [1] * 7)])
def test_micro_batches_hold_every_sentence_once_with_the_tokens_of_the_whole(number, sizes):
    task = TinyTask()
    pairs = task.pairs(7, seed=4)
    batch = pairs.collater([pairs[i] for i in range(7)])
    parts = micro_batches(number, task.target_dictionary.pad(), left_pad_source=True)(batch)
    assert [len(part["id"]) for part in parts] == sizes
    assert torch.cat([part["id"] for part in parts]).tolist() == batch["id"].tolist()
    assert {part["ntokens"] for part in parts} == {batch["ntokens"]}


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_the_losses_of_micro_batches_sum_to_that_of_the_batch(tiny, arch, monkeypatch):
    # fairseq's attention computes its softmax in float32.
    monkeypatch.setattr("fairseq.utils.softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim))
    built = tiny(arch, dropout=0.0)
    padding, pairs = built.task.target_dictionary.pad(), built.task.pairs(7, seed=4)
    batch = pairs.collater([pairs[i] for i in range(7)])
    whole = Student(built.model, translation_objective(RegularisedLoss(DynamicLoss(Diagonal(), padding))))
    parts = whole.in_parts(micro_batches(3, padding, left_pad_source=True))
    phi = torch.rand(len(built.task.target_dictionary), dtype=torch.float64)
    point = Point(whole.flat_params(), phi, batch, 1)
    found, wanted = (student.gradients(point, of_coefficients=True) for student in (parts, whole))
    for mine, other in zip(found, wanted, strict=True):
        assert other.norm() > 0
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-13)


def sizes(batches, number) -> tuple[int, int]:
    """Padded tokens of both sides of a batch, and their lengths together."""
    batch = batches[number]
    sides = batch["target"].shape, batch["net_input"]["src_tokens"].shape
    return sum(side.numel() for side in sides), sum(side[1] for side in sides)


@pytest.mark.parametrize(
    "limits", [BatchLimits(2, None), BatchLimits(None, 14), BatchLimits(4, 30), BatchLimits(20, None)], ids=str
)
def test_the_largest_batches_have_most_tokens_and_the_longest_sentences(limits):
    batches = batches_of(limits)
    found, every = batches.largest(), [sizes(batches, number) for number in range(len(batches))]
    assert len(found) == len(set(found)) <= 2
    assert [max(every[n][side] for n in found) for side in (0, 1)] == [max(sizes) for sizes in zip(*every, strict=True)]
