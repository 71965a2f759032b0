"""The command `dlf-check` on a student that has hardly begun."""

import pytest
import torch

from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.teaching import prospect
from fairseq_dlf.translation.tools import check
from tests.translation.tiny_runs import SIZES, STUDENT, train


@pytest.fixture(scope="module")
def student(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    train(data, folder, *STUDENT, "--max-update=1", "--disable-validation")
    return folder / "checkpoint_last.pt"


def arguments(data, student, *more):
    small = ["--measure-sentences=2", "--greedy-sentences=2", "--progress-sentences=2"]
    return [str(data), f"--student={student}", "--student-steps=3", "--batch-size=4", "--cpu", *small, *more]


def test_it_tells_all_that_it_promises(data, student, capsys):
    assert check.main(arguments(data, student)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("second-order products: ") and lines[1] == "kinks: none"
    assert lines[2].startswith("an episode of 3 updates: about ") and "3 of 3 steps are kept" in lines[2]
    assert lines[3].startswith("smoothness in Φ over 3 updates: ")
    titles = [line.split(":")[0].strip() for line in lines[4:]]
    assert titles == [
        "greedy BLEU on dev after 3 updates",
        "before",
        "Φ = 0.5 times neutral",
        "Φ = 1 times neutral",
        "Φ = 1.5 times neutral",
        "Φ with a uniform share of 0",
        "Φ with a uniform share of 0.1",
        "Φ with a uniform share of 0.3",
        "leverage",
        "advice",
    ]


def test_options_of_teaching_are_heeded(data, student, capsys):
    given = ["--form=bins(number=1,linear=1)", "--student-start=fresh", "--truncate=2"]
    assert check.main(arguments(data, student, *given)) == 0
    assert "2 of 2 steps are kept" in capsys.readouterr().out
    given += ["--phi-start=0.2", "--measure=greedy_bleu", "--estimator=forward_differences"]
    assert check.main(arguments(data, student, *given)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "second-order products: the estimator takes none"
    assert lines[1].startswith("a training of 3 updates: about ") and lines[2].startswith("smoothness in Φ")
    assert [line.split(":")[0] for line in lines[5:8]] == [f"  Φ = 0.{tenth} times neutral" for tenth in (1, 2, 3)]


def test_regularisers_stand_beside_each_constant_phi(data, student, capsys, monkeypatch):
    runs = []

    def spied(lesson, coefficients, *rest, run=prospect.constant_run):
        runs.append(coefficients)
        return run(lesson, coefficients, *rest)

    monkeypatch.setattr(prospect, "constant_run", spied)
    given = ["--form=bins(number=1,linear=1)", "--regularisers=r_drop(start=0.3),self_distillation"]
    assert check.main(arguments(data, student, *given)) == 0
    smoothness, of_phi, of_shares = runs[:3], torch.stack(runs[3:6]), runs[6:]
    # A weight that starts at its bound moves up.
    assert [float(phi[3]) >= 0 for phi in smoothness] == [True] * 3 and float(smoothness[2][3]) > 0
    assert torch.equal(of_phi[:, 0], torch.tensor(prospect.CONSTANTS))
    assert torch.equal(of_phi[:, 2:], torch.tensor([0.3, 0.0]).expand(3, 2))
    assert [len(coefficients) for coefficients in of_shares] == [2] * 3
    assert "smoothness in Φ" in capsys.readouterr().out


def test_each_student_of_a_population_is_checked(data, student, capsys):
    several = arguments(data, f"{student},fresh:{student}", "--update-freq=2")
    assert check.main(several) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "student 1 of 2:" and lines.count("student 2 of 2:") == 1
    half = len(lines) // 2
    first, second = lines[:half], lines[half:]
    assert len(first) == len(second) > 10 and second[0] == "student 2 of 2:"
    assert all(each[-2].startswith("leverage: ") and each[-1].startswith("advice: ") for each in (first, second))


def test_mistakes_are_one_line(data, tmp_path, capsys):
    assert check.main(arguments(data, tmp_path / "none.pt")) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("dlf-check: error: student checkpoint ") and "does not exist" in error


def test_a_student_without_second_derivatives_is_named(data, tmp_path, capsys, monkeypatch):
    def refuse(student, point):
        raise StateError("the layer x has no second derivative")

    train(data, tmp_path, *STUDENT, *SIZES, "--max-update=1", "--disable-validation")
    monkeypatch.setattr("fairseq_dlf.translation.episodes.guard.require_second_derivatives", refuse)
    assert check.main(arguments(data, tmp_path / "checkpoint_last.pt")) == 1
    assert "the layer x has no second derivative" in capsys.readouterr().err


def test_help_and_nothing(capsys):
    assert check.main(["--help"]) == 0 and check.main([]) == 2
    assert "usage: dlf-check DATA-BIN --student CHECKPOINT" in capsys.readouterr().out
