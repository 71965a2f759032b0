"""The length of a run, and how far it has come."""

from types import SimpleNamespace

import pytest

from fairseq_dlf.core.support.errors import InputError, StateError
from fairseq_dlf.translation.students.plan import RunPlan, require_length
from tests.translation.students.losses.made_batches import with_batches


def plan_of(built, **limits):
    cfg = {"max_update": 0, "max_epoch": 0, "update_freq": [1], "train_subset": "train"} | limits
    return RunPlan(SimpleNamespace(**cfg), built.task)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ({"max_update": 10}, 0.2),
        ({"max_epoch": 2}, 0.25),
        ({"max_epoch": 2, "update_freq": [2]}, 0.5),
        ({"max_epoch": 2, "update_freq": [1, 3]}, 0.5),
        ({"max_update": 1, "max_epoch": 2}, 1.0),
    ],
)
def test_the_share_done_is_known_from_the_limits(tiny, limits, wanted):
    assert plan_of(with_batches(tiny("lstm")), **limits).share_done(2) == wanted


def test_the_epoch_is_the_iterators(tiny):
    built = with_batches(tiny("lstm"))
    built.iterator.epoch = 3
    assert plan_of(built).epoch == 3


def test_names_what_is_unknown(tiny):
    built = with_batches(tiny("lstm"))
    built.task.dataset_to_epoch_iter = {}
    with pytest.raises(StateError, match="several shards, so the run's progress is unknown: merge the shards"):
        _ = plan_of(built).epoch
    with pytest.raises(InputError, match="and the teacher needs .*: pass --max-update or --max-epoch"):
        require_length(SimpleNamespace(max_update=0, max_epoch=0), needed_by="the teacher")
    require_length(SimpleNamespace(max_update=0, max_epoch=1), needed_by="the teacher")
