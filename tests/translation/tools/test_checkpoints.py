"""Averages of checkpoints, and the refusal of what has none."""

import argparse
import errno
import random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fairseq")

from fairseq_dlf.core.support.errors import DiskError, InputError, MissingFileError, UserError  # noqa: E402
from fairseq_dlf.translation.hooks.task_state import EXTRA_STATE_KEY  # noqa: E402
from fairseq_dlf.translation.tools.checkpoint_names import last_checkpoints  # noqa: E402
from fairseq_dlf.translation.tools.checkpoints import average, save  # noqa: E402


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
    result = average([first, second])
    assert result["model"]["decoder.weight"].tolist() == [2.0, 3.5, 0.0]
    assert result["model"]["decoder.version"].tolist() == [8]
    assert result["cfg"]["common"]["seed"] == 8 and result["args"].arch == "lstm"
    assert result["optimizer_history"] == [{"num_updates": 8}]
    assert "last_optimizer_state" not in result


def test_the_state_of_the_last_criterion_is_left_out(write):
    path = write(checkpoint([1.0, 2.0, 4.0], extra_state={"epoch": 2, EXTRA_STATE_KEY: {"past": torch.ones(3)}}))
    assert average([path])["extra_state"] == {"epoch": 2}
    assert average([write(checkpoint([1.0, 2.0, 4.0], extra_state=None))])["extra_state"] is None


def test_sums_do_not_round_in_the_dtype_of_the_parameters(write):
    # In float16, 2048 + 1 + 1 + 1 stays 2048, and 60,000 + 60,000 is infinite.
    values = ([2048.0, 60000.0], [1.0, 60000.0], [1.0, 60000.0], [1.0, 60000.0])
    files = [write(checkpoint(v, dtype=torch.float16), f"{i}.pt") for i, v in enumerate(values)]
    mean = average(files)["model"]["decoder.weight"]
    assert mean.dtype == torch.float16
    assert mean.tolist() == torch.tensor([2051 / 4, 60000.0], dtype=torch.float16).tolist()


def test_tables_of_whole_numbers_that_agree_are_kept(write):
    files = [write({"model": {"table": torch.tensor([4, 5])}}, name) for name in ("a.pt", "b.pt")]
    assert average(files)["model"]["table"].tolist() == [4, 5]


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
    assert [path.name for path in last_checkpoints(tmp_path, last, by)] == wanted


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (OSError(5, "Input/output error"), OSError, "Input/output error"),
        (OSError(errno.ENOSPC, "No space left on device"), DiskError, "the disk is full: .*average.pt"),
    ],
)
def test_a_failure_leaves_the_old_file(write, tmp_path, monkeypatch, failure, kind, words):
    target = write(checkpoint([1.0]), "average.pt")

    def fail(content, path):
        path.write_bytes(b"half")
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(kind, match=words):
            save(checkpoint([2.0]), target)
    assert torch.load(target, weights_only=True)["model"]["decoder.weight"].tolist() == [1.0]
    assert [path.name for path in tmp_path.iterdir()] == ["average.pt"]


def with_model(**tensors):
    return checkpoint([1.0], model={**checkpoint([1.0])["model"], **tensors})


OTHER_NAME = with_model(**{"encoder.weight": torch.ones(1)})
ERRORS = {
    "other parameters": (OTHER_NAME, r"different parameters \(encoder.weight\): average checkpoints of one"),
    "other shape": (checkpoint([1.0, 2.0]), r"decoder.weight is \(2,\) in .*b.pt, \(1,\) in .*a.pt"),
    "other kind": (with_model(**{"decoder.weight": torch.tensor([1])}), "decoder.weight is torch.int64 in .*b.pt"),
    "no checkpoint": ({"weights": torch.ones(1)}, "b.pt holds no 'model'"),
    "a list": ([1, 2], "b.pt holds no 'model'"),
    "model of another type": ({"model": [torch.ones(1)]}, "b.pt holds no 'model'"),
    "no parameters": ({"model": {}}, "b.pt holds no 'model' with parameters"),
    "text": (with_model(**{"decoder.weight": "1.0"}), "decoder.weight in .*b.pt is a str, not a tensor"),
    "NaN": (checkpoint([float("nan")]), r"decoder.weight in .*b.pt holds values that are not finite \(NaN"),
    "infinity": (checkpoint([-float("inf")]), "decoder.weight in .*b.pt holds values that are not finite"),
    "complex": (with_model(**{"decoder.weight": torch.ones(1) * 1j}), "decoder.weight in .*b.pt is a tensor of"),
    "sparse": (with_model(**{"decoder.weight": torch.ones(1).to_sparse()}), "in the layout torch.sparse_coo"),
    "repeated": (with_model(**{"decoder.weight": torch.ones(1).expand(2**40)}), "claims 1,099,511,627,776 values"),
}


@pytest.mark.parametrize(("content", "message"), ERRORS.values(), ids=ERRORS)
def test_wrong_checkpoint_is_named(write, content, message):
    files = [write(checkpoint([1.0]), "a.pt"), write(content, "b.pt")]
    with pytest.raises(InputError, match=message):
        average(files)


def test_tables_of_whole_numbers_that_differ_are_refused(write):
    files = [write({"model": {"table": torch.tensor([4, last])}}, f"{last}.pt") for last in (5, 6)]
    with pytest.raises(InputError, match="table holds other whole numbers in .*6.pt than in .*5.pt"):
        average(files)


def test_damaged_checkpoints_are_named_or_hold_the_same(write):
    whole = write(checkpoint([1.0, 2.0]), "a.pt")
    content, broken = whole.read_bytes(), whole.with_name("b.pt")
    draw, refused = random.Random(3), 0
    for turn in range(60):
        changed = bytearray(content)
        if turn % 2:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        else:
            del changed[draw.randrange(len(changed)) :]
        broken.write_bytes(changed)
        try:
            average([whole, broken])
        except UserError as error:
            assert "b.pt" in str(error) and "\n" not in str(error)
            refused += 1
    assert refused >= 30


def test_nothing_to_average_is_named(tmp_path):
    with pytest.raises(InputError, match="no checkpoints to average"):
        average([])
    with pytest.raises(MissingFileError, match="a.pt does not exist: pass a checkpoint that fairseq-train"):
        average([tmp_path / "a.pt"])
    with pytest.raises(MissingFileError, match="directory not found.*pass a --save-dir"):
        last_checkpoints(tmp_path / "nowhere", 1)
    with pytest.raises(InputError, match="got 0 checkpoints by epoch.*wanted 2.*--no-epoch-checkpoints"):
        last_checkpoints(tmp_path, 2)
