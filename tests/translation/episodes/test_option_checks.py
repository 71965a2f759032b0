"""Options of teaching that are missing, out of range, or would be ignored."""

import pytest

from fairseq_dlf.core.support.errors import InputError, MissingFileError, UserError
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.episodes.option_checks import (
    require_alone,
    require_equal_shares,
    require_kept,
    require_options,
    require_several,
)


def options(**given) -> DlfTeachingConfig:
    plain = {"student": "student.pt", "lr": [0.1], "batch_size": 8, "max_tokens": None}
    return DlfTeachingConfig(**(plain | given))


TAKEN = [
    {},
    {"student_optimizer": "nesterov", "student_momentum": 0.5},
    {"student_optimizer": "adamw", "student_beta1": 0.5, "student_beta2": 0.5, "student_adam_eps": 1e-6},
    {"student_momentum": 0.0},
    {"curvature": "central", "difference_step": 1e-4, "allow_kinks": "relu"},
    {"ce_share": 0.5, "label_smoothing": 0.1},
    {"trajectory": "checkpoints", "checkpoint_every": 200},
    {"trajectory": "checkpoints", "checkpoint_every": 5, "truncate": 5},
    {"trajectory_storage": "disk", "trajectory_dir": "."},
    {"keep_graphs": True, "trajectory_memory": "1GiB"},
    {"batch_size": None, "max_tokens": 1},
    {"candidate_method": "beam", "candidate_sum": True},
    {"measure": "sampled_bleu", "candidates": 4},
    {"measure": "sharpened_likelihood(sharpness=3)"},
    {"measure": "greedy_bleu", "estimator": "forward_differences(step=0.2)"},
]


@pytest.mark.parametrize("given", TAKEN)
def test_options_with_an_effect_are_taken(given):
    require_options(options(**given))


GRAPHS = {"keep_graphs": True, "trajectory_memory": "1GiB"}
REFUSED = [
    ({"student": ""}, "needs --student CHECKPOINT"),
    ({"student_lr": float("inf")}, "--student-lr is inf, but must be positive and finite"),
    ({"student_lr": 0.0}, "--student-lr is 0.0, but must be positive"),
    ({"lr": [0.1, -1.0]}, "--lr is -1.0, but must be finite and not negative"),
    ({"guard_every": -1}, "--guard-every is -1, but must not be negative"),
    ({"micro_batches": 0}, "--micro-batches is 0, but must be at least 1"),
    ({"batch_size": 0}, "--batch-size is 0, but must be at least 1"),
    ({"batch_size": -1}, "--batch-size is -1"),
    ({"max_tokens": 0}, "--max-tokens is 0"),
    ({"episodes_per_epoch": 0}, "--episodes-per-epoch is 0"),
    ({"student_momentum": 0.9}, "--student-momentum 0.9 would be ignored, .* sgd: take momentum or nesterov"),
    ({"student_optimizer": "adam", "student_momentum": 0.9}, "--student-momentum 0.9 would be ignored"),
    ({"student_beta1": 0.9}, "--student-beta1 0.9 would be ignored, .* take adam or adamw, or leave it out"),
    ({"student_optimizer": "momentum", "student_beta2": 0.9}, "--student-beta2 0.9 would be ignored"),
    ({"student_adam_eps": 1e-8}, "--student-adam-eps 1e-08 would be ignored"),
    ({"student_adam_eps_root": 1e-6}, "--student-adam-eps-root 1e-06 would be ignored"),
    ({"allow_kinks": "relu"}, "--allow-kinks relu would be ignored, .*: take central or forward"),
    ({"difference_step": 1e-4}, "--difference-step 0.0001 would be ignored"),
    ({"label_smoothing": 0.1}, "--label-smoothing 0.1 would be ignored, .*--ce-share is 0"),
    ({"checkpoint_every": 3}, "--checkpoint-every 3 would be ignored, .*: take checkpoints"),
    ({"trajectory": "checkpoints", "checkpoint_every": 201}, "--checkpoint-every is 201, but an episode has 200 steps"),
    ({"trajectory": "checkpoints", "checkpoint_every": 6, "truncate": 5}, "an episode has 5 steps"),
    ({"keep_graphs": True}, "--keep-graphs True would be ignored, .*: add --trajectory-memory, or leave it out"),
    ({**GRAPHS, "trajectory_storage": "disk"}, "--keep-graphs .* with the student: take --trajectory-storage device"),
    ({**GRAPHS, "curvature": "central"}, "--keep-graphs .* differences have no graph: take --curvature exact"),
    ({**GRAPHS, "micro_batches": 2}, "--keep-graphs .* one graph at a time: take --micro-batches 1"),
    ({"measure": "bleu"}, "no measure named 'bleu': wanted one of .* \\(--measure\\)"),
    ({"measure": "greedy_bleu"}, "--measure greedy_bleu has no gradient, which --estimator reverse needs: take"),
    ({"measure": "sampled_bleu(n=3)"}, "the measure sampled_bleu has no option n.* \\(--measure\\)"),
    (
        {"measure": "sampled_bleu", "candidate_method": "beam"},
        "--candidate-method beam would be ignored, .* sampled_bleu",
    ),
    ({"measure": "sharpened_likelihood", "candidates": 4}, "--candidates 4 would be ignored, .*sharpened_likelihood"),
    ({"trajectory_storage": "disk", "trajectory_dir": "no-such"}, "the folder no-such for the trajectory does not"),
    ({"trajectory_storage": "disk", "trajectory_dir": ""}, "the folder '' for the trajectory does not exist"),
]


@pytest.mark.parametrize(("given", "words"), REFUSED)
def test_other_options_are_named(given, words):
    with pytest.raises(UserError, match=words) as caught:
        require_options(options(**given))
    assert isinstance(caught.value, MissingFileError if "trajectory_dir" in given else InputError)


def test_episodes_are_shared_among_several():
    require_several(True, 2)
    require_several(False, 1)
    with pytest.raises(InputError, match="--share-episodes was given, but one worker trains alone"):
        require_several(True, 1)


# Update frequencies, workers and members that go together, and others with the advice.
EQUAL = [([1], Workers(), 1), ([3], Workers(), 3), ([4, 2], Workers(), 2), ([1], Workers(0, 4), 2)]
EQUAL += [([3], Workers(0, 2), 3), ([2], Workers(0, 3, shared=True), 2), ([], Workers(), 1)]
UNEQUAL = [
    ([1], Workers(), 3, "names 3 students, but an update has 1 episodes .*pass --update-freq 3 or a multiple"),
    ([2, 3], Workers(), 2, "an update has 3 episodes .--update-freq 3, 1 at a time.*pass --update-freq 2"),
    ([1], Workers(0, 2), 3, "an update has 2 episodes .--update-freq 1, 2 at a time.*pass --update-freq 3"),
    ([1], Workers(0, 2), 4, "pass --update-freq 2 or"),
    ([1], Workers(0, 2, shared=True), 2, "an update has 1 episodes .*pass --update-freq 2 or"),
]


@pytest.mark.parametrize(("turns", "workers", "members"), EQUAL)
def test_updates_that_teach_each_member_equally_often_are_taken(turns, workers, members):
    require_equal_shares(options(update_freq=turns), workers, members)


@pytest.mark.parametrize(("turns", "workers", "members", "words"), UNEQUAL)
def test_other_updates_are_refused_with_the_number_to_take(turns, workers, members, words):
    with pytest.raises(InputError, match=words):
        require_equal_shares(options(update_freq=turns), workers, members)


def test_several_workers_do_not_keep_several_students():
    ways = ["warm", "continue"]
    require_kept(ways, Workers())
    require_kept(ways, Workers(0, 2, shared=True))
    require_kept(["continue"], Workers(0, 2))
    require_kept(["warm", "fresh"], Workers(0, 2))
    with pytest.raises(InputError, match="each of 2 students .* of 2 workers .*pass --update-freq 2 to one worker"):
        require_kept(ways, Workers(0, 2))


def test_an_estimator_that_moves_phi_itself_has_one_worker():
    require_alone(options(estimator="two_unrolls"), Workers())
    require_alone(options(estimator="reverse"), Workers(0, 2))
    for workers in (Workers(0, 2), Workers(1, 2, shared=True)):
        with pytest.raises(InputError, match="two_unrolls moves .* of which there are 2: start one worker"):
            require_alone(options(estimator="two_unrolls"), workers)
