"""The command `dlf-teacher`: a report, or one line."""

import sys

import pytest
import torch

from fairseq_dlf.core.teaching.teacher_file import TeacherHeader, write_teacher
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, ScheduleTeacher, StaticTeacher
from fairseq_dlf.translation.reports import command, making
from fairseq_dlf.translation.reports.named import named_teachers
from tests.translation.reports.made_teachers import TYPES
from tests.translation.reports.test_curves import simple


def run(*arguments):
    return command.main([str(argument) for argument in arguments])


def error_of(capsys, *arguments):
    """The one line that a user sees."""
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("dlf-teacher: error: ")
    return printed.err


@pytest.fixture
def out(tmp_path):
    return tmp_path / "made" / "report"


@pytest.fixture
def moving(save):
    """A teacher whose coefficients fall from 1 to a half, each type by a little more than the one before it."""
    ends = [torch.ones(TYPES), 0.5 + 0.01 * torch.arange(float(TYPES)).flip(0)]
    return save("moving", ScheduleTeacher(torch.stack(ends, dim=1)))


@pytest.fixture
def still(save):
    torch.manual_seed(3)
    values = (1 + 0.1 * torch.randn(TYPES, 1)) + 1e-5 * torch.randn(TYPES, 3)
    return save("still", AttentionTeacher(values, torch.randn(3, 3)))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "train.log"
    path.write_text("\n".join([simple(10, bleu=3.25), simple(20, bleu=2)]), encoding="utf-8")
    return path


def names(folder):
    return {path.name for path in folder.iterdir()}


# Reports --------------------------------------------------------------------------


def test_a_teacher_is_reported_in_words_and_figures(moving, data, out, capsys):
    assert run(moving, "--data", data, "--out", out, "--top", 2) == 0
    assert capsys.readouterr().out == f"report: {out / 'report.html'}\n"
    assert names(out) == {"report.md", "report.html", "movement.png", "frequency.png", "words.png"}
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "| moving | schedule | diagonal | Φ | 12 |" in text and "Warning" not in text
    assert "Φ depends on nothing but t / T" in text and "Signature: dlf\\|teacher:made\\|seed:1" in text
    lowest, highest = text.split("Lowest coefficients Φ")[1].split("Highest coefficients Φ")
    rows = "| rare | 1 | 0.7550 | 1.0000 | 0.5100 |\n| \\<b\\> | 8 | 0.7600 | 1.0000 | 0.5200 |\n\n"
    assert rows in lowest and "| \\</s\\> | – | 0.7950 |" in highest and "| the | 1,000 | 0.7850 |" in highest
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 3 and "<td>&lt;b&gt;</td>" in page


def test_several_teachers_are_compared_and_the_still_ones_warned_of(still, moving, data, out, capsys):
    assert run(f"{still},second={moving}", "--data", data, "--out", out) == 0
    warning, report = capsys.readouterr().out.splitlines()
    assert warning.startswith("warning: The loss of still is static in effect: along the run Φ moves by ")
    assert report == f"report: {out / 'report.html'}"
    figures = {"movement", "agreement", "frequency-still", "words-still", "frequency-second", "words-second"}
    assert names(out) == {f"{name}.png" for name in figures} | {"report.md", "report.html"}
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "> **Warning.** The loss of still" in text and "| still, second | Φ | 8 | " in text
    assert "An assumption: Φ depends on what a student is measured" in text and "from 0 to 1 together" in text


def test_a_static_teacher_is_not_warned_of(save, data, out, capsys):
    assert run(save("static", StaticTeacher(torch.rand(TYPES))), "--data", data, "--out", out) == 0
    assert "warning" not in capsys.readouterr().out


def test_the_path_of_bleu_and_chosen_words_are_stated(still, data, out):
    assert run(still, "--data", data, "--out", out, "--bleu", "30,40", "--words", "the", ",") == 0
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "BLEU on train and on dev from 30 to 40, linearly" in text and "Coefficients of chosen words" in text


def test_bins_and_weights_are_reported(save, data, out):
    knots = torch.tensor([[0.5, 0.25], [0.1, 0.2], [1.0, 3.0]])
    teacher = save("bins", ScheduleTeacher(knots), "shares(number=2)", "r_drop(start=1)")
    assert run(teacher, "--data", data, "--out", out) == 0
    assert names(out) == {"report.md", "report.html", "movement.png", "bins.png", "weights.png"}
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "| 1 | 1 | 49.8 | the | 0.5000 | 0.2500 |" in text and "| 0.1000 | 0.2000 |" in text
    assert "| r\\_drop(start=1) | 1.0000 | 1.0000 | 3.0000 |" in text


def test_forms_without_words_are_still_measured(save, data, out):
    assert run(save("m", StaticTeacher(torch.rand(TYPES**2)), "matrix"), "--data", data, "--out", out) == 0
    assert "the form matrix belong to no words" in (out / "report.md").read_text(encoding="utf-8")
    assert names(out) == {"report.md", "report.html", "movement.png"}


def test_curves_need_no_teacher(log, out, capsys):
    assert run("--curves", log, f"two={log},{log}", "--out", out, "--format", "pdf") == 0
    figures = {"curves-students.png", "curves-students.pdf"}
    assert "report: " in capsys.readouterr().out and names(out) == {"report.md", "report.html", *figures}
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "| train | student | 3.25 | 10 | 2.00 | 20 |" in text and "| two, 2 of 2 | student |" in text


def test_curves_stand_beside_teachers(moving, data, log, out):
    assert run(moving, "--data", data, "--curves", log, "--out", out) == 0
    assert {"curves-students.png", "words.png"} < names(out)


def test_files_of_one_name_are_told_apart_by_their_folders():
    given = named_teachers("a/seed-1/checkpoint_best.pt,a/seed-2/checkpoint_best.pt,mine=x/y=z.pt,d/y=z.pt")
    assert [each.name for each in given] == ["", "", "mine", ""] and str(given[3].paths[0]) == "d/y=z.pt"
    assert [each.name for each in making._labelled(given[:3], "file")] == ["seed-1", "seed-2", "mine"]


# What is refused ------------------------------------------------------------------


def images_teacher(tmp_path):
    header = TeacherHeader("static", "matrix", ("t", "train_accuracy"), "dlf-images-teach|seed:1", {"data": "mnist"})
    write_teacher(tmp_path / "images.safetensors", StaticTeacher(torch.ones(100)), header)
    return tmp_path / "images.safetensors"


def test_files_that_are_no_teachers_of_this_data_are_refused(still, data, out, tmp_path, capsys):
    there = ["--data", data, "--out", out]
    assert "nothing.pt does not exist: pass the checkpoint_best.pt" in error_of(capsys, tmp_path / "nothing.pt", *there)
    assert "taught by --task dlf_teaching" in error_of(capsys, images_teacher(tmp_path), *there)
    (data / "dict.en.txt").write_text("a 5\n")
    assert "trained on 12 target types, this dictionary has 5" in error_of(capsys, still, *there)
    assert "no data-bin at" in error_of(capsys, still, "--data", tmp_path / "none", "--out", out)


def test_options_that_would_be_ignored_are_refused(moving, still, save, data, log, out, capsys):
    message = error_of(capsys, "--curves", log, "--out", out, "--words", "the")
    assert "--words ['the'] would be ignored, for it is about teachers: pass teacher files" in message
    message = error_of(capsys, moving, "--data", data, "--out", out, "--bleu", "1,2")
    assert "--bleu (1.0, 2.0) would be ignored, for Φ of these teachers does not depend" in message
    shares = save("shares", StaticTeacher(torch.full((1,), 0.3)), "shares")
    message = error_of(capsys, shares, "--data", data, "--out", out, "--top", "3")
    assert "--top 3 would be ignored, for none of these teachers has a coefficient per type" in message


def test_missing_and_double_arguments_are_named(moving, log, data, out, tmp_path, capsys):
    assert "nothing to report: pass teacher files, --curves LOG" in error_of(capsys, "--out", out)
    assert "those of its data-bin: name it (--data)" in error_of(capsys, moving, "--out", out)
    assert "pass each teacher file once" in error_of(capsys, f"{moving},{moving}", "--data", data, "--out", out)
    assert "the name train is given twice" in error_of(capsys, "--curves", log, f"train={log}", "--out", out)
    message = error_of(capsys, moving, "--data", data, "--out", out, "--words", "thee")
    assert "'thee' is no type" in message and "(--words)" in message
    assert "must lie in [0, 100] (--bleu)" in error_of(capsys, moving, "--data", data, "--out", out, "--bleu", "0,200")
    assert f"{log} cannot be a folder (File exists): name another (--out)" in error_of(
        capsys, moving, "--data", data, "--out", log
    )
    assert "no BLEU on dev (0 validations)" in error_of(capsys, "--curves", moving, "--out", out)


def test_without_matplotlib_it_is_said_what_to_install(moving, data, out, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "plots need matplotlib: pip install matplotlib" in error_of(capsys, moving, "--data", data, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.pt", "--out", "o", "--format", "gif"], "invalid choice: 'gif'"),
        (["x.pt", "--out", "o", "--top", "0"], "wanted 1 or more"),
        (["x.pt", "--out", "o", "--bleu", "5"], "wanted LOW,HIGH"),
        (["", "--out", "o"], "got an empty name"),
        (["--curves", "a,b", "--out", "o"], "wanted NAME=a,b: logs of several seeds need a name"),
        (["x.pt"], "the following arguments are required: --out"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run(*arguments)
    assert message in capsys.readouterr().err
