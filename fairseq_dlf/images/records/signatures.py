"""Signatures of trainings, including those of versions up to 0.1.0."""

import re

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Signature

_OLD_LOSS = re.compile(r"([^(]+)\(([^)]*)\)")


def read_signature(text: str) -> Signature:
    """Return the signature of a training, its fields named as `TrainingSettings.signature` names them.

    Raises:
        InputError: the text is a signature neither of this version nor of an older one.
    """
    try:
        signature = Signature.parse(text)
    except InputError:
        return _old_signature(text)
    return signature if {"model", "loss"} <= set(signature.fields) else _old_signature(text)


def _old_signature(text: str) -> Signature:
    """Read 'dlf-images|mlp:fresh|smooth(sharpness=50)|sgd:…|data:mnist:f00dcafe:50000|seed:1|v0.1.0'."""
    program, *parts = text.split("|")
    loss = _OLD_LOSS.fullmatch(parts[1]) if len(parts) > 2 else None
    if loss is None or ":" not in parts[0]:
        raise InputError(f"signature is {text[:80]!r}, but must be that of a training")
    model, _, start = parts[0].partition(":")
    fields = {"model": model, "start": start, "loss": loss[1], "loss_options": loss[2]}
    for part in parts[2:]:
        name, _, value = part.partition(":")
        if name == "data":
            fields |= dict(zip(("data", "fingerprint", "train_images"), value.split(":"), strict=False))
        elif name.startswith("v") and not value:
            fields["version"] = name[1:]
        else:
            fields[name] = value
    return Signature(program, fields)
