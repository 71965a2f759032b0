"""Average precision against scikit-learn's, and recall at a precision against every threshold, also with ties."""

import pytest
import torch

from fairseq_dlf.images.students.tasks.precision_recall import average_precisions, recalls_at

sklearn_metrics = pytest.importorskip("sklearn.metrics")

IMAGES, CLASSES = 60, 4


def drawn(seed, steps):
    """Scores on a grid of so many steps, so that many are equal; the last class has no image."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES - 1, (IMAGES,), generator=generator)
    logits = torch.randn(IMAGES, CLASSES, generator=generator, dtype=torch.float64)
    logits[torch.arange(IMAGES), labels] += 1.0
    return (steps * logits).round() / steps, labels


@pytest.mark.parametrize("steps", [1, 3, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_scikit_learn(seed, steps):
    logits, labels = drawn(seed, steps)
    found = average_precisions(logits, labels)
    wanted = [
        sklearn_metrics.average_precision_score((labels == kind).numpy(), logits[:, kind].numpy())
        for kind in range(CLASSES - 1)
    ]
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)
    assert len({round(value, 6) for value in wanted}) == CLASSES - 1


def test_equal_scores_give_the_share_of_positives():
    labels = torch.tensor([0, 1, 1, 2])
    assert average_precisions(torch.ones(4, 3), labels).tolist() == pytest.approx([0.25, 0.5, 0.25])
    assert average_precisions(torch.full((4, 3), torch.nan), labels).tolist() == pytest.approx([0.25, 0.5, 0.25])


def test_the_best_and_the_worst_order():
    logits = torch.tensor([[3.0, -3.0], [2.0, -2.0], [1.0, -1.0]])
    assert average_precisions(logits, torch.tensor([0, 0, 1])).tolist() == [1.0, 1.0]
    assert average_precisions(-logits, torch.tensor([0, 0, 1])).tolist() == pytest.approx([(1 / 2 + 2 / 3) / 2, 1 / 3])


@pytest.mark.parametrize("steps", [1, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_recall_at_a_precision_is_the_best_of_all_thresholds(seed, steps):
    logits, labels = drawn(seed, steps)
    precisions = torch.tensor([0.1, 0.5, 0.8, 1.0], dtype=torch.float64)
    recall, threshold = recalls_at(logits, labels, precisions)
    for row, precision in enumerate(precisions.tolist()):
        for kind in range(CLASSES):
            best, where = 0.0, float(logits[:, kind].max())
            for limit in sorted(set(logits[:, kind].tolist()), reverse=True):
                taken = logits[:, kind] >= limit
                hits = int((taken & (labels == kind)).sum())
                share = hits / max(1, int((labels == kind).sum()))
                if hits / int(taken.sum()) >= precision and share > best:
                    best, where = share, limit
            assert float(recall[row, kind]) == pytest.approx(best, abs=1e-12)
            assert float(threshold[row, kind]) == where
    assert 0 < int((recall == 0).sum()) < recall.numel()
