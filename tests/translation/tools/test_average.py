import argparse

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fairseq")

from fairseq_dlf.translation.tools import average  # noqa: E402


def checkpoint(weight, updates=1, dtype=torch.float32, **more):
    """The parts of a fairseq checkpoint that matter here."""
    model = {
        "decoder.weight": torch.tensor(weight, dtype=dtype),
        "decoder.version": torch.tensor([updates], dtype=torch.int64),
    }
    return {
        "cfg": {"model": {"_name": "lstm"}, "common": {"seed": updates}},
        "args": argparse.Namespace(arch="lstm"),
        "model": model,
        "optimizer_history": [{"num_updates": updates}],
        "extra_state": {"epoch": updates},
        "last_optimizer_state": {"momentum": torch.ones(3)},
        **more,
    }


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="a.pt"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write_file


def test_parameters_are_means_and_counters_those_of_the_last(write):
    first = write(checkpoint([1.0, 2.0, 4.0], updates=3), "a.pt")
    second = write(checkpoint([3.0, 5.0, -4.0], updates=8), "b.pt")
    result = average.average([first, second])
    assert result["model"]["decoder.weight"].tolist() == [2.0, 3.5, 0.0]
    assert result["model"]["decoder.version"].tolist() == [8]
    assert result["cfg"]["common"]["seed"] == 8 and result["args"].arch == "lstm"
    assert result["optimizer_history"] == [{"num_updates": 8}]
    assert "last_optimizer_state" not in result


def test_sums_do_not_round_in_the_dtype_of_the_parameters(write):
    # In float16, 2048 + 1 + 1 + 1 stays 2048, and 60,000 + 60,000 is infinite.
    values = ([2048.0, 60000.0], [1.0, 60000.0], [1.0, 60000.0], [1.0, 60000.0])
    files = [write(checkpoint(v, dtype=torch.float16), f"{i}.pt") for i, v in enumerate(values)]
    mean = average.average(files)["model"]["decoder.weight"]
    assert mean.dtype == torch.float16
    assert mean.tolist() == torch.tensor([2051 / 4, 60000.0], dtype=torch.float16).tolist()


def test_command_averages_named_files(write, tmp_path, capsys):
    files = [str(write(checkpoint([value]), f"{value}.pt")) for value in (1.0, 2.0, 6.0)]
    target = tmp_path / "new" / "average.pt"
    assert average.main(["--inputs", *files, "--output", str(target)]) == 0
    assert torch.load(target, weights_only=True)["model"]["decoder.weight"].tolist() == [3.0]
    assert [path.name for path in target.parent.iterdir()] == ["average.pt"]
    assert "averaged 3 checkpoints" in capsys.readouterr().out


def test_output_may_be_one_of_the_inputs(write):
    first, second = write(checkpoint([1.0]), "a.pt"), write(checkpoint([2.0]), "b.pt")
    assert average.main(["--inputs", str(first), str(second), "--output", str(first)]) == 0
    assert torch.load(first, weights_only=True)["model"]["decoder.weight"].tolist() == [1.5]


LAST = {
    "epochs by number, not by name": ("epoch", 2, ["checkpoint9.pt", "checkpoint10.pt"]),
    "one epoch": ("epoch", 1, ["checkpoint10.pt"]),
    "updates": ("update", 2, ["checkpoint_2_900.pt", "checkpoint_3_1000.pt"]),
}


@pytest.mark.parametrize(("by", "last", "wanted"), LAST.values(), ids=LAST)
def test_last_checkpoints_of_a_directory(tmp_path, by, last, wanted):
    names = ["checkpoint8.pt", "checkpoint9.pt", "checkpoint10.pt", "checkpoint_2_900.pt"]
    for name in [*names, "checkpoint_1_80.pt", "checkpoint_3_1000.pt", "checkpoint_best.pt", "log.txt"]:
        (tmp_path / name).touch()
    assert [path.name for path in average.last_checkpoints(tmp_path, last, by)] == wanted


def test_interrupted_writing_leaves_the_old_file(write, tmp_path, monkeypatch):
    target = write(checkpoint([1.0]), "average.pt")
    monkeypatch.setattr(average.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        average.save(checkpoint([2.0]), target)
    assert torch.load(target, weights_only=True)["model"]["decoder.weight"].tolist() == [1.0]
    assert [path.name for path in tmp_path.iterdir()] == ["average.pt"]


OTHER_MODEL = {**checkpoint([1.0])["model"], "encoder.weight": torch.ones(1)}
ERRORS = {
    "other parameters": (checkpoint([1.0], model=OTHER_MODEL), r"different parameters \(encoder.weight\)"),
    "other shape": (checkpoint([1.0, 2.0]), r"decoder.weight is \(2,\) in .*b.pt, \(1,\) in .*a.pt"),
    "no checkpoint": ({"weights": torch.ones(1)}, "holds no 'model'"),
    "missing": (None, "checkpoint not found.*b.pt"),
}


@pytest.mark.parametrize(("content", "message"), ERRORS.values(), ids=ERRORS)
def test_wrong_checkpoint_is_named(write, tmp_path, content, message):
    first, second = write(checkpoint([1.0]), "a.pt"), tmp_path / "b.pt"
    if content is not None:
        write(content, "b.pt")
    with pytest.raises(ValueError, match=message):
        average.average([first, second])


def test_nothing_to_average_is_named(tmp_path):
    with pytest.raises(ValueError, match="no checkpoints to average"):
        average.average([])
    with pytest.raises(ValueError, match="directory not found"):
        average.last_checkpoints(tmp_path / "nowhere", 1)
    with pytest.raises(ValueError, match="got 0 checkpoints by epoch.*wanted 2.*--no-epoch-checkpoints"):
        average.last_checkpoints(tmp_path, 2)


def test_an_error_reaches_the_user_as_one_line(tmp_path, capsys):
    arguments = ["--inputs", str(tmp_path / "nowhere.pt"), "--output", str(tmp_path / "average.pt")]
    assert average.main(arguments) == 1
    assert capsys.readouterr().err.startswith("dlf-average: checkpoint not found")


ARGUMENT_ERRORS = {
    "directory without number": (["--checkpoint-dir", "x"], "--last go together"),
    "number without directory": (["--inputs", "x", "--last", "2"], "--last go together"),
    "last 0": (["--checkpoint-dir", "x", "--last", "0"], "wanted 1 or more"),
    "neither": ([], "--inputs --checkpoint-dir"),
}


@pytest.mark.parametrize(("arguments", "message"), ARGUMENT_ERRORS.values(), ids=ARGUMENT_ERRORS)
def test_wrong_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        average.main([*arguments, "--output", "y"])
    assert message in capsys.readouterr().err
