"""Correlation between teachers."""

import pytest
import torch

from fairseq_dlf.core.teaching.teachers import ScheduleTeacher, StaticTeacher
from fairseq_dlf.translation.reports.agreement import agreements, correlation
from fairseq_dlf.translation.reports.taught import path_of_progress, read_taught
from tests.translation.reports.made_teachers import TYPES


@pytest.fixture
def read(save, vocabulary):
    return lambda label, *given: read_taught(save(label, *given), label, vocabulary, path_of_progress())


def test_correlation_is_pearsons():
    draw = torch.Generator().manual_seed(2)
    first, noise = torch.randn(2, 500, generator=draw)
    second = 0.6 * first + 0.8 * noise
    centred = [values.double() - values.double().mean() for values in (first, second)]
    wanted = (centred[0] @ centred[1]) / (centred[0].norm() * centred[1].norm())
    assert correlation([first, second], [1.0, 1.0]) == pytest.approx(float(wanted))
    assert correlation([first, -3 * first + 7], [1.0, 1.0]) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    "pair", [[torch.rand(2), torch.rand(2)], [torch.ones(9), torch.rand(9)], [1e-8 * torch.rand(9), torch.rand(9)]]
)
def test_what_does_not_vary_has_no_correlation(pair):
    assert correlation(pair, [1.0, 1.0]) is None


def test_only_types_that_occur_are_compared(read, vocabulary):
    first, second = torch.rand(TYPES), torch.rand(TYPES)
    second[vocabulary.occurs] = 2 * first[vocabulary.occurs] + 1
    (found,) = agreements([read("one", StaticTeacher(first)), read("two", StaticTeacher(second))], vocabulary)
    assert (found.first, found.second, found.symbol, found.coefficients) == ("one", "two", "Φ", 8)
    assert found.means == pytest.approx(1.0) and found.moves is None
    assert found.chance == pytest.approx(2 / 8**0.5)


def test_parts_are_compared_apart_and_moves_as_well(read, vocabulary):
    torch.manual_seed(4)
    start, move = torch.rand(2 * TYPES), torch.rand(2 * TYPES)
    upwards = ScheduleTeacher(torch.stack([start, start + move], 1))
    backwards = ScheduleTeacher(torch.stack([start + 0.5 * move, start - 0.5 * move], 1))
    weights, rest = agreements(
        [read(name, each, "smoothed") for name, each in (("up", upwards), ("down", backwards))], vocabulary
    )
    assert (weights.symbol, rest.symbol) == ("a", "b")
    assert weights.moves == pytest.approx(-1.0) and rest.moves == pytest.approx(-1.0)
    assert weights.means > 0.5


def test_teachers_of_other_forms_are_not_compared(read, vocabulary):
    teachers = [
        read("one", StaticTeacher(torch.rand(TYPES))),
        read("two", StaticTeacher(torch.rand(2 * TYPES)), "smoothed"),
    ]
    teachers.append(read("three", StaticTeacher(torch.rand(2 * TYPES)), "sparse_smoothed"))
    assert agreements(teachers, vocabulary) == []
