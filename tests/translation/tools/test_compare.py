"""The command `dlf-compare`: a table, or one line."""

import json

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.translation.tools import compare  # noqa: E402
from tests.translation.tools.made_outputs import GOOD, REFERENCES  # noqa: E402


def run(references, *arguments, baseline="cross-entropy"):
    shared = ["--references", str(references), "--baseline", baseline, "--bootstrap", "20"]
    return compare.main([*shared, *map(str, arguments)])


def error_of(capsys, *arguments, **named):
    """The one line that a user sees."""
    assert run(*arguments, **named) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("dlf-compare: error: ")
    return printed.err


def test_command_prints_the_table_and_writes_json(write, references, tmp_path, capsys):
    target = tmp_path / "new" / "result.json"
    assert run(references, "--json", target, f"cross-entropy={write('a', GOOD)}") == 0
    printed, stored = capsys.readouterr().out, json.loads(target.read_text())
    assert "| cross-entropy (baseline) | 100.00 | 100.00–100.00 |  | 1.000 | 1.000 | 100.00 | 100.00 |" in printed
    assert stored["signature"] in printed and stored["sentences"] == len(REFERENCES)
    assert stored["systems"][0]["runs"][0]["bleu"] == pytest.approx(100)
    assert [path.name for path in target.parent.iterdir()] == ["result.json"]


def test_a_dash_prints_the_json_alone(write, references, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    systems = [f"{name}={write(name, GOOD)}" for name in ("cross-entropy", "taught")]
    assert run(references, "--json", "-", "--shuffles", "7", "--note", "a toy", *systems) == 0
    printed = json.loads(capsys.readouterr().out)
    assert "shuffles:7|" in printed["p_signature"] and printed["note"] == "a toy"
    assert printed["systems"][1]["runs"][0]["p_value"] == 1 and printed["flagged"] == []
    assert [path.name for path in tmp_path.iterdir()] == ["a folder"]


def test_the_note_stands_under_the_table(write, references, capsys):
    assert run(references, "--note", "This is a toy.", f"cross-entropy={write('a', GOOD)}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| cross-entropy") and lines[3:6] == ["", "This is a toy.", ""]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("a folder", "is a folder: name a file in it (--json)"),
        ("a folder/a/x.json", "a cannot be a folder (File exists): name another file to write (--json)"),
    ],
)
def test_json_that_cannot_be_written_is_named_before_the_work(write, references, tmp_path, capsys, target, words):
    file = write("a", GOOD)
    assert words in error_of(capsys, references, "--json", tmp_path / target, f"cross-entropy={file}")


def test_a_mistake_reaches_the_user_as_one_line_with_the_option(write, references, tmp_path, capsys):
    file = write("good", GOOD)
    message = error_of(capsys, references, f"cross-entropy={file}", baseline="nobody")
    assert "baseline 'nobody' is not among the systems" in message and "(--baseline)" in message
    assert f"{tmp_path}/refs" in error_of(capsys, tmp_path / "refs", f"cross-entropy={file}")
    file.write_bytes(b"H-0\t-1\t\xe4\n")
    assert f"{file} is not UTF-8 (byte 7)" in error_of(capsys, references, f"cross-entropy={file}")


ARGUMENT_ERRORS = {
    "no file": (["cross-entropy"], "wanted NAME=FILE"),
    "seed 0": (["--seed", "0", "cross-entropy=x"], "wanted 1 or more"),
    "no resamples": (["--bootstrap", "0", "cross-entropy=x"], "wanted 1 or more"),
    "no shuffles": (["--shuffles", "0", "cross-entropy=x"], "wanted 1 or more"),
    "empty name": (["--json", "", "cross-entropy=x"], "got an empty name"),
}


@pytest.mark.parametrize(("arguments", "message"), ARGUMENT_ERRORS.values(), ids=ARGUMENT_ERRORS)
def test_wrong_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run("x", *arguments)
    assert message in capsys.readouterr().err
