"""The command `dlf-average`: one file, or one line."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fairseq")

from fairseq_dlf.translation.tools import average  # noqa: E402


@pytest.fixture
def write(tmp_path):
    def write_file(weight, name="a.pt"):
        path = tmp_path / name
        torch.save({"model": {"weight": torch.tensor(weight)}, "last_optimizer_state": torch.ones(2)}, path)
        return str(path)

    return write_file


def run(*arguments):
    return average.main([str(argument) for argument in arguments])


def error_of(capsys, *arguments):
    """The one line that a user sees."""
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("dlf-average: error: ")
    return printed.err


def test_command_averages_named_files(write, tmp_path, capsys):
    files = [write([value], f"{value}.pt") for value in (1.0, 2.0, 6.0)]
    target = tmp_path / "new folder" / "average.pt"
    assert run("--inputs", *files, "--output", target) == 0
    assert torch.load(target, weights_only=True)["model"]["weight"].tolist() == [3.0]
    assert [path.name for path in target.parent.iterdir()] == ["average.pt"]
    assert "averaged 3 checkpoints" in capsys.readouterr().out


def test_command_averages_the_last_of_a_folder(write, tmp_path):
    for number, value in ((8, 100.0), (9, 1.0), (10, 2.0)):
        write([value], f"checkpoint{number}.pt")
    assert run("--checkpoint-dir", tmp_path, "--last", 2, "--output", tmp_path / "average.pt") == 0
    assert torch.load(tmp_path / "average.pt", weights_only=True)["model"]["weight"].tolist() == [1.5]


def test_output_may_be_one_of_the_inputs(write):
    first, second = write([1.0], "a.pt"), write([2.0], "b.pt")
    assert run("--inputs", first, second, "--output", first) == 0
    assert torch.load(first, weights_only=True)["model"]["weight"].tolist() == [1.5]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("folder", "folder is a folder: name a file in it (--output)"),
        ("file/x.pt", "file cannot be a folder (File exists): name another file to write (--output)"),
    ],
)
def test_an_output_that_cannot_be_written_is_named(write, tmp_path, capsys, output, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert words in error_of(capsys, "--inputs", write([1.0]), "--output", tmp_path / output)


def test_an_input_that_cannot_be_read_is_named_and_nothing_is_written(write, tmp_path, capsys):
    broken, output = tmp_path / "broken.pt", tmp_path / "average.pt"
    broken.write_bytes(b"")
    message = error_of(capsys, "--inputs", write([1.0]), broken, "--output", output)
    assert f"{broken} is empty" in message and "pass a checkpoint that fairseq-train has written" in message
    assert not output.exists()


def test_a_missing_folder_and_too_few_checkpoints_name_the_option(tmp_path, capsys):
    output = tmp_path / "average.pt"
    message = error_of(capsys, "--checkpoint-dir", tmp_path / "nowhere", "--last", 1, "--output", output)
    assert "directory not found" in message and "(--checkpoint-dir)" in message
    message = error_of(capsys, "--checkpoint-dir", tmp_path, "--last", 2, "--output", output)
    assert "got 0 checkpoints by epoch" in message and "(--by)" in message


def test_help_says_what_becomes_of_whole_numbers(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    printed = " ".join(capsys.readouterr().out.split())
    assert "whole number, such as a counter of updates, is taken from the last checkpoint" in printed


ARGUMENT_ERRORS = {
    "directory without number": (["--checkpoint-dir", "x"], "--last go together"),
    "number without directory": (["--inputs", "x", "--last", "2"], "--last go together"),
    "last 0": (["--checkpoint-dir", "x", "--last", "0"], "wanted 1 or more"),
    "neither": ([], "--inputs --checkpoint-dir"),
    "empty name": (["--inputs", ""], "got an empty name"),
}


@pytest.mark.parametrize(("arguments", "message"), ARGUMENT_ERRORS.values(), ids=ARGUMENT_ERRORS)
def test_wrong_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run(*arguments, "--output", "y")
    assert message in capsys.readouterr().err
