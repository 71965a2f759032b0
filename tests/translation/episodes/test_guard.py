"""The guard: what is tried before the first lesson, and how often products are compared."""

from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Exact
from fairseq_dlf.core.hypergradient.guard import Disagreement
from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.translation.episodes import guard as guard_module
from fairseq_dlf.translation.episodes.guard import Guard
from tests.translation.made_lessons import options


@pytest.fixture
def compared(monkeypatch):
    """Replaces the comparison; what it was given, and what it finds."""
    found = SimpleNamespace(calls=[], error=Disagreement(0.0, 0.001, 0.001))

    def compare(student, curvature, point, vector):
        found.calls.append((point, vector))
        return found.error

    monkeypatch.setattr(guard_module, "compare_with_exact", compare)
    return found


class Student:
    def __init__(self):
        self.points = []

    def buffers(self):
        return {}

    def gradients(self, point):
        self.points.append(point)
        return SimpleNamespace(params=torch.ones(2))


def watch(guard, times=1):
    """Have so many lessons watched; the student and what was observed before."""
    student, observed = Student(), []
    lesson = SimpleNamespace(
        start=SimpleNamespace(params=torch.zeros(2)),
        student=student,
        interval=3,
        updates=6,
        step=lambda t: (f"batch {t}", t, 0.1),
    )
    guidance = SimpleNamespace(
        observe=lambda t, params, buffers: observed.append(t),
        coefficients=lambda t: torch.full((1,), float(t)),
        source=lambda t: guard_module.Step(torch.full((1,), float(t)), *lesson.step(t)),
    )
    for _ in range(times):
        guard.watch(lesson, guidance)
    return student, observed


@pytest.mark.parametrize(("every", "lessons", "times"), [(0, 5, 1), (1, 3, 3), (2, 5, 3), (100, 5, 1)])
def test_products_are_compared_every_so_often(compared, every, lessons, times):
    watch(Guard(options(guard_every=every, curvature="central"), CentralDifference()), lessons)
    assert len(compared.calls) == times


def test_products_in_bf16_are_compared_in_every_lesson(compared):
    watch(Guard(options(guard_every=0, student_precision="bf16"), Exact()), 3)
    assert len(compared.calls) == 3


def test_estimators_without_products_have_nothing_to_compare(compared, probed):
    guard = Guard(options(student_precision="bf16"), Exact(), products=False)
    guard.probe(None, None)
    watch(guard)
    assert not compared.calls and [called for called, _ in probed] == ["require_precision"]


@pytest.mark.parametrize(
    ("given", "times"),
    [({}, 0), ({"curvature": "forward"}, 1), ({"student_precision": "bf16"}, 1)],
    ids=["exact", "differences", "bf16"],
)
def test_only_inexact_products_are_compared(compared, given, times):
    watch(Guard(options(**given), Exact()))
    assert len(compared.calls) == times


def test_the_first_step_is_compared_along_the_gradient_of_the_last_batch(compared):
    student, observed = watch(Guard(options(curvature="central"), CentralDifference()))
    point, vector = compared.calls[0]
    assert (point.batch, float(point.coefficients)) == ("batch 0", 0.0) and torch.equal(vector, torch.ones(2))
    assert (student.points[0].batch, float(student.points[0].coefficients)) == ("batch 5", 2.0)
    assert observed == [0]


def test_kinks_that_are_allowed_excuse_products_but_no_step_that_differs(compared):
    compared.error = Disagreement(0.0, 0.5, 0.5)
    with pytest.raises(StateError, match="second-order products are off"):
        watch(Guard(options(curvature="central"), CentralDifference()))
    allowed = Guard(options(curvature="central", allow_kinks="relu,"), CentralDifference())
    watch(allowed)
    compared.error = Disagreement(0.5, 0.0, 0.0)
    with pytest.raises(StateError, match="cannot be repeated"):
        watch(Guard(options(curvature="central", allow_kinks="relu"), CentralDifference()))


@pytest.fixture
def probed(monkeypatch):
    """Replaces the three probes; their names in the order in which they were called."""
    called = []
    for name in ("require_precision", "require_second_derivatives", "require_smooth"):
        monkeypatch.setattr(guard_module, name, lambda *a, _name=name, **k: called.append((_name, k)))
    return called


PROBED = {
    "exact": ({}, ["require_second_derivatives"]),
    "bf16": ({"student_precision": "bf16"}, ["require_precision", "require_second_derivatives"]),
    "differences": (
        {"curvature": "forward", "allow_kinks": "relu,max"},
        ["require_smooth", "require_second_derivatives"],
    ),
}


@pytest.mark.parametrize("name", PROBED)
def test_a_student_is_tried_as_the_options_need_it(probed, name):
    given, wanted = PROBED[name]
    student = SimpleNamespace(within=lambda context: student)
    Guard(options(**given), Exact()).probe(student, None)
    assert [called for called, _ in probed] == wanted
    if name == "differences":
        assert probed[0][1] == {"allowed": ["relu", "max"]}


def test_students_without_second_derivatives_are_not_compared(probed, compared, monkeypatch, caplog):
    def missing(*_):
        raise StateError("no second derivative")

    monkeypatch.setattr(guard_module, "require_second_derivatives", missing)
    student = SimpleNamespace(within=lambda context: student)
    guard = Guard(options(curvature="central"), CentralDifference())
    guard.probe(student, None)
    watch(guard)
    assert not compared.calls and "cannot be compared with exact ones: no second derivative" in caplog.text
    with pytest.raises(StateError, match="no second derivative"):
        Guard(options(), Exact()).probe(student, None)
