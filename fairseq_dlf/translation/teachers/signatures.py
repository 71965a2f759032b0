"""The parts of a translation teacher's signature that come from options."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.translation.episodes.config import DlfTeachingConfig
from fairseq_dlf.translation.hooks.run_options import options_of_run

# Options that do not change the teacher after a given number of updates, each with the reason.
WITHOUT_EFFECT = {
    "data": "a path; what it holds is signed by dictionary and pairs",
    "allow_kinks": "lets a run begin",
    "guard_every": "stops a run, or changes nothing",
    "log_cotangent_every": "log",
    "trajectory": "memory against time; the same states",
    "checkpoint_every": "memory against time",
    "trajectory_memory": "memory against time",
    "keep_graphs": "memory against time; the same operations in the same order",
    "trajectory_storage": "memory against time",
    "trajectory_dir": "memory against time",
    "greedy_sentences": "figures of validations",
    "episodes_per_epoch": "when to validate",
    "max_update": "how long",
    "max_epoch": "how long",
    "dataset_impl": "how files are read",
    "eval_bleu": "of students' tasks; teaching validates by itself",
    "eval_bleu_args": "as eval_bleu",
    "eval_bleu_detok": "as eval_bleu",
    "eval_bleu_detok_args": "as eval_bleu",
    "eval_tokenized_bleu": "as eval_bleu",
    "eval_bleu_remove_bpe": "as eval_bleu",
    "eval_bleu_print_samples": "as eval_bleu",
}
# Options that are in another owner's part of the signature.
OF_OTHERS = {
    "student": "starts, by its weights",
    "student_start": "starts",
    "student_steps": "plan",
    "truncate": "plan",
    "curvature": "plan",
    "difference_step": "plan",
    "clip_cotangent": "plan",
    "collapse_share": "plan",
    "student_optimizer": "rule",
    "student_momentum": "rule",
    "student_beta1": "rule",
    "student_beta2": "rule",
    "student_adam_eps": "rule",
    "student_adam_eps_root": "rule",
    "student_clip_norm": "rule",
    "student_weight_decay": "rule",
    "student_decoupled_decay": "rule",
    "estimator": "estimator",
    "form": "loss",
    "ce_share": "loss",
    "label_smoothing": "loss",
    "regularisers": "loss",
    "measure": "measure",
    "candidates": "measure",
    "candidate_method": "measure",
    "candidate_sharpness": "measure",
    "candidate_sum": "measure",
    "candidate_reference": "measure",
    "batch_size": "limits",
    "max_tokens": "limits",
    "share_episodes": "workers",
    "update_freq": "workers",
    "lr": "optimiser",
}
# Options that fairseq takes from other groups, with their defaults there.
_DEFAULTS = {"train_subset": "train", "valid_subset": "valid", "required_seq_len_multiple": 1}
# Options that are always in the signature; the others are in it if they differ from their default.
_ALWAYS = ("student_lr", "measure_sentences", "progress_sentences", "progress_interval", "seed")
_OPTIMISER_WITHOUT_EFFECT = ("_name", "tpu", "lr")


def options_part(cfg: DlfTeachingConfig) -> Part:
    """Return the task's options that no other part contains; a later option is among them unless it is named above."""
    part: dict[str, Any] = {}
    for each in fields(DlfTeachingConfig):
        name, value = each.name, getattr(cfg, each.name)
        if name.startswith("_") or name in WITHOUT_EFFECT or name in OF_OTHERS:
            continue
        default = _DEFAULTS.get(name, None if each.default is MISSING else each.default)
        if name in _ALWAYS or value != default:
            part[name] = value
    return part


def workers_part(cfg: DlfTeachingConfig, workers: Workers) -> Part:
    """Return the number of episodes in an update, and the number of workers that share each."""
    turns = cfg.update_freq[0] if cfg.update_freq else 1
    return {
        "episodes": turns if workers.shared else turns * workers.number,
        "shared": workers.number if workers.shared else 1,
    }


def optimiser_part(cfg: DlfTeachingConfig) -> Part:
    """Return the options that move the teacher's parameters: optimiser, schedule and clipping of the run."""
    clip = options_of_run(cfg, "optimization").get("clip_norm", 0.0)
    return {
        "teacher_lr": list(cfg.lr),
        "optimizer": _named(options_of_run(cfg, "optimizer")),
        "lr_scheduler": _named(options_of_run(cfg, "lr_scheduler")),
        "teacher_clip_norm": clip,
    }


def _named(options: Mapping[str, Any]) -> str:
    """Return a part of a run by its name and options: 'adam(adam_betas=(0.9, 0.999),…)'."""
    listed = (f"{name}={value}" for name, value in options.items() if name not in _OPTIMISER_WITHOUT_EFFECT)
    return f"{options.get('_name', 'none')}({','.join(listed)})"
