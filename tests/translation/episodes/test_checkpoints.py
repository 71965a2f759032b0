"""Students for episodes: how they are built, dropout, and checkpoints that are damaged or do not fit."""

import random
from pathlib import Path

import pytest
import torch
from fairseq.modules import FairseqDropout
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from fairseq_dlf.core.support.errors import InputError, MissingFileError, UserError
from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.episodes.checkpoints import StudentCheckpoint, set_dropout, student_of
from fairseq_dlf.translation.regularisers import RegularisedLoss
from tests.translation.tiny_runs import STUDENT, make_data_bin, train


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_dropout_is_set_everywhere(tiny, arch):
    model = tiny(arch, dropout=0.3).model
    set_dropout(model, 0.0)
    rates = [m.p for m in model.modules() if isinstance(m, FairseqDropout)]
    assert rates and not any(rates)


@pytest.mark.parametrize(("layers", "rate"), [(1, 0.0), (2, 0.4), (3, 0.4)])
def test_layers_of_an_lstm_drop_out_between_them_alone(layers, rate):
    """PyTorch warns of a rate that a single layer does not use."""
    lstm = torch.nn.LSTM(3, 3, num_layers=layers)
    set_dropout(lstm, 0.4)
    assert lstm.dropout == rate


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_dropout_is_checked(tiny, rate):
    with pytest.raises(ValueError, match=f"dropout is {rate}"):
        set_dropout(tiny("lstm").model, rate)


def checkpoint(path, **sizes):
    model = {f"{side}.embed_tokens.weight": torch.ones(size, 4) for side, size in sizes.items()}
    history = [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 1}]
    state = {"cfg": {"model": {"_name": "lstm"}}, "model": model, "optimizer_history": history}
    torch.save({**state, "extra_state": {"epoch": 1, "train_iterator": {"epoch": 1}}, "args": None}, path)
    return str(path)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"decoder": 12}, "of another task, it has no encoder"),
        ({"encoder": 12, "decoder": 4352}, "has 4,352 decoder types, this data-bin's dictionary has 12"),
        ({"encoder": 9, "decoder": 12}, "has 9 encoder types"),
    ],
)
def test_checkpoints_for_other_data_are_named(tiny, tmp_path, sizes, words):
    with pytest.raises(ValueError, match=words):
        StudentCheckpoint(checkpoint(tmp_path / "student.pt", **sizes), tiny("lstm").task)


# Checkpoints of a real run -----------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A student's checkpoint after one update, and its task."""
    data = make_data_bin(tmp_path_factory.mktemp("data"))
    folder = tmp_path_factory.mktemp("student")
    train(data, folder, *STUDENT, "--max-update=1", "--disable-validation")
    return folder / "checkpoint_last.pt", task_of(data)


def task_of(data: Path) -> TranslationTask:
    return TranslationTask.setup_task(TranslationConfig(data=str(data), source_lang="de", target_lang="en"))


def changed(trained, folder, change) -> str:
    """A copy of the checkpoint with its state changed in place."""
    state = torch.load(trained[0], weights_only=True)
    change(state)
    torch.save(state, folder / "changed.pt")
    return str(folder / "changed.pt")


def test_a_student_is_read_in_training_mode(trained, caplog):
    loss = RegularisedLoss(DynamicLoss(Diagonal(), trained[1].target_dictionary.pad()))
    student = student_of(StudentCheckpoint(str(trained[0]), trained[1]), loss, dropout=0.0)
    assert student.module.training
    weights = torch.load(trained[0], weights_only=True)["model"]
    assert all(torch.equal(weights[name], value) for name, value in student.module.state_dict().items())
    assert "dictionaries" not in caplog.text


def test_a_fresh_student_has_new_weights_of_its_seed(trained):
    name, checkpoint = "decoder.fc_out.weight", StudentCheckpoint(str(trained[0]), trained[1])
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    first, same, second = (checkpoint.fresh(seed).state_dict()[name] for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, second)
    assert not torch.equal(first, torch.load(trained[0], weights_only=True)["model"][name])
    assert torch.equal(torch.rand(1), wanted)


@pytest.mark.parametrize("path", ["", "none.pt", "tests"])
def test_a_missing_checkpoint_is_named(trained, path):
    with pytest.raises(MissingFileError, match=f"student checkpoint ('')?{path} does not exist: train one"):
        StudentCheckpoint(path, trained[1])


def with_values(name, make):
    def change(state):
        state["model"][name] = make(state["model"][name])

    return change


BIAS = "decoder.fc_out.bias"
CHANGES = {
    "a tensor is missing": (lambda state: state["model"].pop(BIAS), "does not fit its own .*Missing.*fc_out.bias"),
    "a tensor more": (
        lambda state: state["model"].update({"decoder.more": torch.ones(1)}),
        "does not fit its own .*decoder.more",
    ),
    "another shape": (with_values(BIAS, lambda t: t[1:]), "does not fit its own .*size mismatch.*fc_out.bias"),
    "not a number": (with_values(BIAS, lambda t: t * torch.nan), "fc_out.bias in .*changed.pt has values that are not"),
    "infinite": (with_values(BIAS, lambda t: t + torch.inf), "fc_out.bias in .*changed.pt has values that are not"),
    "whole numbers": (with_values(BIAS, lambda t: t.long()), "fc_out.bias in .*changed.pt is of torch.int64"),
    "no tensor": (with_values(BIAS, lambda _: "x"), "changed.pt holds no tensors of a model"),
    "no model": (lambda state: state.pop("model"), "changed.pt holds no tensors of a model"),
    "another model": (lambda state: state.update(model=[1]), "changed.pt holds no tensors of a model"),
    "no cfg": (lambda state: state.pop("cfg"), "no model can be built as .*changed.pt says"),
    "cfg of another type": (lambda state: state.update(cfg=5), "changed.pt holds a model, but not what"),
    "cfg without a model": (lambda state: state["cfg"].pop("model"), "no model can be built as .*changed.pt says"),
    "no such architecture": (
        lambda state: vars(state["cfg"]["model"]).update(_name="x", arch="x"),
        "no model can be built as .*changed.pt says",
    ),
    "a size that is text": (
        lambda state: vars(state["cfg"]["model"]).update(encoder_embed_dim="x"),
        "no model can be built as .*changed.pt says",
    ),
    "no history": (lambda state: state.update(optimizer_history=[]), "changed.pt holds a model, but not what"),
    "no extra state": (lambda state: state.update(extra_state=None), "changed.pt holds a model, but not what"),
    "task state of another type": (lambda state: state.update(task_state=7), "changed.pt holds a model, but not what"),
    "another order of types": (
        lambda state: state["task_state"]["dlf_dictionaries"].update(target="0123456789abcdef"),
        r"changed.pt was trained with another target dictionary \(fingerprint 0123456789abcdef",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_checkpoint_with_other_content_is_named(trained, tmp_path, name):
    change, words = CHANGES[name]
    with pytest.raises(InputError, match=words) as caught:
        StudentCheckpoint(changed(trained, tmp_path, change), trained[1])
    assert "pass a checkpoint of --task translation" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dictionaries_that_are_not_kept_are_warned_of_once(trained, tmp_path, caplog):
    path = changed(trained, tmp_path, lambda state: state["task_state"].clear())
    StudentCheckpoint(path, trained[1]).fresh(seed=1)
    assert caplog.text.count("does not say which dictionaries it was trained with") == 1


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content cut short, with bytes flipped, or with a part taken out."""
    at = draw.randrange(len(content))
    kind = draw.choice(["cut", "flip", "hole"])
    if kind == "cut":
        return content[:at]
    if kind == "hole":
        return content[:at] + content[at + draw.randrange(1, 500) :]
    return content[:at] + bytes([content[at] ^ draw.randrange(1, 256)]) + content[at + 1 :]


@pytest.mark.parametrize("cases", [25, pytest.param(200, marks=pytest.mark.slow)])
def test_damaged_checkpoints_end_in_one_line_with_their_name(trained, tmp_path, cases):
    content, draw, refused = trained[0].read_bytes(), random.Random(3), 0
    weights = torch.load(trained[0], weights_only=True)["model"]
    path = tmp_path / "damaged.pt"
    for _ in range(cases):
        path.write_bytes(damaged(content, draw))
        try:
            found = StudentCheckpoint(str(path), trained[1]).model.state_dict()
        except UserError as error:
            refused += 1
            assert "damaged.pt" in str(error) and "pass a checkpoint" in str(error) and "\n" not in str(error)
        else:
            # Much of so small a file is padding, or of no concern to a student.
            assert all(torch.equal(weights[name], value) for name, value in found.items())
    assert refused >= 0.6 * cases


@pytest.mark.parametrize("content", [b"", b"text\n", b"PK\x03\x04", b"\x80\x04N."])
def test_files_that_are_no_checkpoints_are_named(trained, tmp_path, content):
    (tmp_path / "other.pt").write_bytes(content)
    with pytest.raises(InputError, match="other.pt .*: pass a checkpoint of --task translation"):
        StudentCheckpoint(str(tmp_path / "other.pt"), trained[1])
