"""Students for episodes: dropout, and checkpoints that do not fit."""

import pytest
import torch
from fairseq.modules import FairseqDropout

from fairseq_dlf.translation.episodes.checkpoints import load_model, set_dropout


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_dropout_is_set_everywhere(tiny, arch):
    model = tiny(arch, dropout=0.3).model
    set_dropout(model, 0.0)
    rates = [m.p for m in model.modules() if isinstance(m, FairseqDropout)]
    assert rates and not any(rates)


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
        load_model(checkpoint(tmp_path / "student.pt", **sizes), tiny("lstm").task)
