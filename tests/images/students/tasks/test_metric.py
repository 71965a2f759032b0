"""The task of embeddings: recall@1, classes that are held out, what a controller reads."""

import pytest
import torch

from fairseq_dlf.core.teaching.forms import Matrix
from fairseq_dlf.images.data.splits import ImageData, ImageSet
from fairseq_dlf.images.students.lesson import ImageCourse
from fairseq_dlf.images.students.tasks import TASKS, metric
from fairseq_dlf.images.students.tasks.metric import class_parts, missed_neighbours

NAMES = ("metric", "metric_margin", "metric_focal")


def by_loop(logits, labels):
    """Of each image that is not alone in its class, whether the nearest other one is of another class."""
    missed = []
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if j != i]
        similar = [float(torch.cosine_similarity(logits[i], logits[j], dim=0)) for j in others]
        nearest = others[similar.index(max(similar))]
        if any(labels[j] == labels[i] for j in others):
            missed.append(bool(labels[nearest] != labels[i]))
    return missed


@pytest.mark.parametrize("rows", [4, 1024])
def test_neighbours_are_those_of_a_loop(monkeypatch, rows):
    monkeypatch.setattr(metric, "ROWS", rows)
    logits = torch.randn(30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([9, *[place % 4 for place in range(29)]])
    found = missed_neighbours(logits, labels)
    assert found.tolist() == by_loop(logits, labels) and len(found) == 29 and 0 < found.sum() < 29


def test_images_alike_and_images_alone():
    same = torch.ones(4, 2)
    assert missed_neighbours(same, torch.tensor([0, 1, 1, 0])).tolist() == [True, True, True, False]
    assert missed_neighbours(same.fill_(torch.nan), torch.tensor([0, 1, 1, 0])).tolist() == [True, True, True, False]
    assert missed_neighbours(torch.eye(2), torch.tensor([0, 1])).tolist() == [True, True]
    assert missed_neighbours(torch.eye(2)[:1], torch.tensor([0])).tolist() == [True]


def image_data(classes=10, names=10):
    def part(labels):
        labels = torch.tensor(labels)
        images = torch.randn(len(labels), 1, 6, 6, generator=torch.Generator().manual_seed(len(labels)))
        return ImageSet(images + labels.view(-1, 1, 1, 1), labels)

    train, dev, test = (part([place % classes for place in range(count)]) for count in (80, 60, 50))
    return ImageData("mnist", tuple("abcdefghij"[:names]), train, dev, test, augments=False, fingerprint="0" * 8)


@pytest.mark.parametrize("name", NAMES)
def test_train_dev_and_test_share_no_class(name):
    data = image_data()
    seen = TASKS.make(name).view(data)
    parts = [sorted(set(part.labels.tolist())) for part in (seen.train, seen.dev, seen.test)]
    assert parts == [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9]]
    kept = data.test.labels >= 7
    assert torch.equal(seen.test.images, data.test.images[kept]) and seen.class_names == data.class_names
    assert TASKS.make("aucpr").view(data) is data


@pytest.mark.parametrize(("classes", "wanted"), [(8, (4, 2, 2)), (100, (50, 20, 30)), (11, (6, 2, 3))])
def test_parts_of_classes(classes, wanted):
    parts = class_parts(classes)
    assert tuple(map(len, parts.values())) == wanted
    assert [number for part in parts.values() for number in part] == list(range(classes))


@pytest.mark.parametrize(
    ("classes", "names", "words"),
    [
        (7, 7, "test the classes 6 to 6 of mnist, of which 1 have"),
        (3, 10, "dev the classes 5 to 6 of mnist, of which 0 have"),
        (1, 2, "train the classes 0 to 0 of mnist, of which 1 have"),
    ],
)
def test_too_few_classes_are_refused(classes, names, words):
    with pytest.raises(
        ValueError, match=f"metric learning gives {words} two images or more, wanted 2: take data of mo"
    ):
        TASKS.make("metric").view(image_data(classes, names))


@pytest.mark.parametrize("name", NAMES)
def test_a_controller_reads_a_number_of_each_coefficient(student, name):
    task, data = TASKS.make(name), TASKS.make(name).view(image_data())
    course = ImageCourse(data, student(), None, 1, task=task)
    start, (low, high) = task.start(Matrix(), 0.5, 10), task.limits(Matrix(), 10)
    found = course.observe(0, course.start.params, {})
    assert found.shape == start.shape == low.shape and len(task.features("tallies", 10, Matrix())) == 1 + len(start)
    assert bool(((found >= 0) & (found <= 1)).all()) and len(found.unique()) == len(found)
    assert bool((low <= start).all()) and bool((high == torch.inf).all())
    assert float(low[0]) == pytest.approx(0.1 if name == "metric_focal" else 0.0)


def test_what_a_controller_reads_are_mean_distances(student):
    task, data = TASKS.make("metric_focal"), TASKS.make("metric").view(image_data())
    course = ImageCourse(data, student(), None, 1, task=task)
    with torch.no_grad():
        logits = course.student.module(data.dev.images).logits
    unit, labels = logits / logits.norm(dim=1, keepdim=True), data.dev.labels.tolist()
    n, found = range(len(labels)), course.observe(0, course.start.params, {})
    for place, same in ((0, True), (1, False)):
        pairs = [float((unit[i] - unit[j]).norm()) for i in n for j in n if i != j and (labels[i] == labels[j]) == same]
        assert float(found[place]) == pytest.approx(sum(pairs) / len(pairs) / 2, abs=1e-3)


def test_what_is_raised_and_reported_is_recall(student):
    task, data = TASKS.make("metric"), TASKS.make("metric").view(image_data())
    course = ImageCourse(data, student(), None, 1, task=task)
    with torch.no_grad():
        missed = by_loop(course.student.module(data.test.images).logits, data.test.labels)
    params = course.start.params
    assert task.value(course.student, params, {}, data.test) == pytest.approx(1 - sum(missed) / len(missed))
    assert task.measure(course.student, data.test).value(params) == pytest.approx(1 - sum(missed) / len(missed))
    assert task.wrong(task.lost(course.student, params, {}, data.test)) == ()
    with pytest.raises(ValueError, match="recall@1 has no derivative: take the estimator reinforce"):
        task.measure(course.student, data.dev).value_and_cotangent(params)
