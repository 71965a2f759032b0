"""Every option that changes a teacher is in its signature, and those without effect are named with a reason."""

from dataclasses import fields
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.teachers.model import DlfTeacherConfig, DlfTeacherModel
from fairseq_dlf.translation.teachers.signatures import (
    OF_OTHERS,
    WITHOUT_EFFECT,
    optimiser_part,
    options_part,
    workers_part,
)
from tests.translation.made_lessons import made_lessons, options

# An option and what goes with it: another value, and what it needs to count.
ADAM = {"student_optimizer": "adam"}
CHANGES = {
    "student_start": ({"student_start": "fresh"}, {}),
    "student_steps": ({"student_steps": 5}, {}),
    "truncate": ({"truncate": 2}, {}),
    "curvature": ({"curvature": "central"}, {}),
    "difference_step": ({"difference_step": 1e-3}, {"curvature": "central"}),
    "clip_cotangent": ({"clip_cotangent": 0.5}, {}),
    "collapse_share": ({"collapse_share": 0.25}, {}),
    "student_optimizer": ({"student_optimizer": "momentum"}, {}),
    "student_momentum": ({"student_momentum": 0.5}, {"student_optimizer": "momentum"}),
    "student_beta1": ({"student_beta1": 0.5}, ADAM),
    "student_beta2": ({"student_beta2": 0.5}, ADAM),
    "student_adam_eps": ({"student_adam_eps": 1e-4}, ADAM),
    "student_adam_eps_root": ({"student_adam_eps_root": 1e-4}, ADAM),
    "student_lr": ({"student_lr": 0.25}, {}),
    "student_lr_scheduler": ({"student_lr_scheduler": "cosine"}, {}),
    "student_lr_options": ({"student_lr_options": "warmup_updates=2"}, {}),
    "student_clip_norm": ({"student_clip_norm": 1.0}, {}),
    "student_weight_decay": ({"student_weight_decay": 0.1}, {}),
    "student_decoupled_decay": ({"student_decoupled_decay": True}, {"student_weight_decay": 0.1}),
    "student_dropout": ({"student_dropout": 0.2}, {}),
    "student_precision": ({"student_precision": "bf16"}, {}),
    "form": ({"form": "matrix"}, {}),
    "regularisers": ({"regularisers": "r_drop"}, {}),
    "ce_share": ({"ce_share": 0.5}, {}),
    "label_smoothing": ({"label_smoothing": 0.1}, {"ce_share": 0.5}),
    "measure_sentences": ({"measure_sentences": 2}, {}),
    "micro_batches": ({"micro_batches": 2}, {}),
    "measure": ({"measure": "sampled_bleu"}, {}),
    "candidates": ({"candidates": 3}, {}),
    "candidate_method": ({"candidate_method": "beam"}, {}),
    "candidate_sharpness": ({"candidate_sharpness": 2.0}, {}),
    "candidate_sum": ({"candidate_sum": True}, {}),
    "candidate_reference": ({"candidate_reference": True}, {}),
    "progress_sentences": ({"progress_sentences": 1}, {}),
    "progress_interval": ({"progress_interval": 2}, {}),
    "batch_size": ({"batch_size": 3}, {}),
    "max_tokens": ({"max_tokens": 20}, {}),
    "seed": ({"seed": 8}, {}),
    "lr": ({"lr": [0.2]}, {}),
    "update_freq": ({"update_freq": [2]}, {}),
    "train_subset": ({"train_subset": "valid"}, {}),
    "valid_subset": ({"valid_subset": "train"}, {}),
    "source_lang": ({"source_lang": "de"}, {}),
    "target_lang": ({"target_lang": "en"}, {}),
    "load_alignments": ({"load_alignments": True}, {}),
    "left_pad_source": ({"left_pad_source": False}, {}),
    "left_pad_target": ({"left_pad_target": True}, {}),
    "max_source_positions": ({"max_source_positions": 512}, {}),
    "max_target_positions": ({"max_target_positions": 512}, {}),
    "upsample_primary": ({"upsample_primary": 2}, {}),
    "truncate_source": ({"truncate_source": True}, {}),
    "num_batch_buckets": ({"num_batch_buckets": 2}, {}),
    "required_seq_len_multiple": ({"required_seq_len_multiple": 8}, {}),
}
# In other tests: a checkpoint's weights, an estimator of another package, and several workers.
ELSEWHERE = {"student", "estimator", "share_episodes"}


def signature_of(monkeypatch, **given) -> Signature:
    cfg = {"required_seq_len_multiple": 1, **given}
    made = made_lessons(monkeypatch, **cfg)
    parts = (optimiser_part(made.cfg), workers_part(made.cfg, Workers()), options_part(made.cfg))
    return Signature.of("dlf", made.lessons.signature, *parts)


def test_every_option_is_changed_here_or_has_a_reason():
    known = {each.name for each in fields(DlfTeachingConfig) if not each.name.startswith("_")}
    assert known == set(CHANGES) | set(WITHOUT_EFFECT) | ELSEWHERE
    assert not set(CHANGES) & set(WITHOUT_EFFECT) and all(WITHOUT_EFFECT.values())
    assert set(OF_OTHERS) <= known


@pytest.mark.parametrize("name", CHANGES)
def test_an_option_that_changes_the_teacher_changes_the_signature(monkeypatch, name):
    change, needed = CHANGES[name]
    plain, changed = signature_of(monkeypatch, **needed), signature_of(monkeypatch, **needed, **change)
    assert str(plain) != str(changed)
    assert Signature.parse(str(changed)) == changed


def test_regularisers_are_signed_only_where_there_are_any(monkeypatch):
    signed = [
        signature_of(monkeypatch, regularisers=text).get("regularisers")
        for text in ("", "label_smoothing", "r_drop(start=0.3),label_smoothing")
    ]
    assert signed == ["", "label_smoothing", "r_drop(start=0.3),label_smoothing"]


OTHERS = {"guard_every": 1, "trajectory": "checkpoints", "greedy_sentences": 1, "max_update": 9, "max_epoch": 3}


@pytest.mark.parametrize("name", OTHERS)
def test_an_option_without_effect_does_not(monkeypatch, name):
    assert str(signature_of(monkeypatch)) == str(signature_of(monkeypatch, **{name: OTHERS[name]}))


def test_the_student_is_signed_by_its_weights(monkeypatch):
    first = made_lessons(monkeypatch).lessons
    other = made_lessons(monkeypatch).lessons
    assert first.signature["student"] == other.signature["student"]
    other.members[0].starts._warm += 1
    assert first.signature["student"] != other.signature["student"]


@pytest.mark.parametrize(
    ("workers", "wanted"),
    [
        (Workers(), {"episodes": 2, "shared": 1}),
        (Workers(1, 3), {"episodes": 6, "shared": 1}),
        (Workers(1, 3, shared=True), {"episodes": 2, "shared": 3}),
    ],
)
def test_workers_are_counted(workers, wanted):
    assert workers_part(options(update_freq=[2]), workers) == wanted


def test_keys_and_kind_of_the_teacher_are_signed():
    cfg = SimpleNamespace(form="diagonal", regularisers="", estimator="reverse")
    task = SimpleNamespace(cfg=cfg, target_dictionary=range(12))
    built = [
        DlfTeacherModel.build_model(DlfTeacherConfig(**given), task).signature
        for given in ({}, {"teacher_keys": 3}, {"teacher_kind": "static"}, {"teacher_kind": "attention(key_scale=1)"})
    ]
    assert len({str(Signature.of("dlf", part)) for part in built}) == 4


# The teacher's optimiser -------------------------------------------------------------

RUN = {
    "optimizer": {"_name": "adam", "adam_betas": "(0.9, 0.999)", "adam_eps": 1e-8, "weight_decay": 0.0},
    "lr_scheduler": {"_name": "fixed", "warmup_updates": 0},
    "optimization": {"clip_norm": 0.0},
}


def of_run(**changed) -> str:
    run = OmegaConf.create({**RUN, "task": {"lr": [0.1]}})
    for path, value in changed.items():
        OmegaConf.update(run, path.replace("__", "."), value)
    return str(Signature.of("dlf", optimiser_part(run.task)))


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer___name": "sgd"},
        {"optimizer__adam_betas": "(0.5, 0.9)"},
        {"optimizer__adam_eps": 1e-4},
        {"optimizer__weight_decay": 0.1},
        {"lr_scheduler___name": "cosine"},
        {"lr_scheduler__warmup_updates": 4},
        {"optimization__clip_norm": 1.0},
        {"task__lr": [0.2]},
    ],
    ids=str,
)
def test_how_the_teacher_moves_is_signed(change):
    assert of_run(**change) != of_run()


def test_options_without_a_run_have_no_optimiser():
    assert optimiser_part(options())["optimizer"] == "none()"
