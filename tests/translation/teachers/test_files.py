"""Teachers of translation on disk: the present and the first version, and what is refused."""

import dataclasses
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fairseq_dlf.core.files.tensor_file import write_tensor_file
from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader, write_teacher
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, StaticTeacher
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.hooks.dictionaries import dictionary_fingerprint
from fairseq_dlf.translation.teachers.files import (
    MODEL_PREFIX,
    TASK_STATE_KEY,
    export_checkpoint,
    header_of,
    read_teacher,
    regularisers_of,
)
from tests.translation.conftest import TinyTask


@pytest.fixture
def dictionary(tiny):
    return tiny("lstm").task.target_dictionary


def attention(coefficients: int, features: int = len(FEATURES)) -> AttentionTeacher:
    return AttentionTeacher(torch.rand(coefficients, 5), torch.randn(features, 5).t())


def header(dictionary, **changed) -> TeacherHeader:
    """The header of a teacher for the dictionary, with settable faults."""
    right = header_of("attention", "diagonal", dictionary, "dlf|test")
    fields = {"kind": right.kind, "form": right.form, "features": right.features, "signature": right.signature}
    return TeacherHeader(**(fields | changed), fits=right.fits)


def first_header(dictionary) -> dict:
    """The header as version 0.1.0 wrote it."""
    return {
        "features": list(FEATURES),
        "dictionary": dictionary_fingerprint(dictionary),
        "types": len(dictionary),
        "signature": "dlf|rmd:T3:K0:exact",
    }


def present_header(dictionary) -> dict:
    right = header(dictionary)
    return {name: getattr(right, name) for name in ("kind", "form", "features", "signature", "fits")}


def save_checkpoint(path: Path, teacher, written) -> Path:
    """A checkpoint with what fairseq keeps beside the model, as far as it is read."""
    model = {MODEL_PREFIX + name: tensor for name, tensor in teacher.state_dict().items()}
    history = [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 1}]
    state = {"model": model, "task_state": {TASK_STATE_KEY: written}, "optimizer_history": history}
    torch.save({**state, "extra_state": {"epoch": 1, "train_iterator": {"epoch": 1}}, "args": None, "cfg": None}, path)
    return path


@pytest.mark.parametrize("written", [first_header, present_header], ids=["first", "present"])
def test_both_kinds_of_file_hold_the_same_teacher(tmp_path, dictionary, written):
    made = attention(len(dictionary))
    checkpoint = save_checkpoint(tmp_path / "checkpoint_best.pt", made, written(dictionary))
    exported = export_checkpoint(checkpoint)
    assert exported == tmp_path / "checkpoint_best.safetensors"
    for path in (checkpoint, exported):
        read = read_teacher(str(path), dictionary)
        assert (read.header.kind, read.header.form, read.header.features) == ("attention", "diagonal", FEATURES)
        assert read.header.signature == written(dictionary)["signature"]
        assert read.header.fits == {"dictionary": dictionary_fingerprint(dictionary), "types": len(dictionary)}
        assert torch.equal(read.teacher.values, made.values)
        assert torch.equal(read.teacher.keys, made.keys)
        assert not any(p.requires_grad for p in read.teacher.parameters())


def test_exports_of_the_first_version_are_read(tmp_path, dictionary):
    made, path = attention(len(dictionary)), tmp_path / "teacher.safetensors"
    write_tensor_file(path, "teacher", made.state_dict(), first_header(dictionary))
    read = read_teacher(str(path), dictionary)
    assert torch.equal(read.teacher.values, made.values)
    assert (read.header.kind, read.header.form, read.header.fits["types"]) == ("attention", "diagonal", 12)


@pytest.mark.parametrize("form", ["diagonal", "matrix"])
def test_other_kinds_and_forms_are_read(tmp_path, dictionary, form):
    size = {"diagonal": 12, "matrix": 144}[form]
    made = StaticTeacher(torch.rand(size))
    checkpoint = save_checkpoint(
        tmp_path / "last.pt", made, {**present_header(dictionary), "kind": "static", "form": form}
    )
    read = read_teacher(str(checkpoint), dictionary)
    assert isinstance(read.teacher, StaticTeacher) and read.header.form == form
    assert torch.equal(read.teacher.phi, made.phi)


# Regularisers --------------------------------------------------------------------

FORM, NAMES = "bins(number=2)", "r_drop(start=0.3),label_smoothing"


def regularised(dictionary, names=NAMES, coefficients=6, **facts):
    """A teacher of bins with weights, and its header."""
    right = header_of("static", FORM, dictionary, "dlf|test", names)
    return StaticTeacher(torch.rand(coefficients)), dataclasses.replace(right, fits={**right.fits, **facts})


def test_regularisers_are_read_from_both_kinds_of_file(tmp_path, dictionary):
    made, right = regularised(dictionary)
    checkpoint = save_checkpoint(tmp_path / "checkpoint_best.pt", made, dataclasses.asdict(right))
    for path in (checkpoint, export_checkpoint(checkpoint)):
        read = read_teacher(str(path), dictionary)
        assert ",".join(each.spec for each in regularisers_of(read)) == NAMES
        assert torch.equal(read.teacher.phi, made.phi)


def test_a_regularised_teacher_of_bins_fits_other_dictionaries(tmp_path, dictionary):
    write_teacher(tmp_path / "teacher.safetensors", *regularised(dictionary))
    other = TinyTask(9).target_dictionary
    assert len(regularisers_of(read_teacher(str(tmp_path / "teacher.safetensors"), other))) == 2


def test_the_header_of_a_teacher_without_regularisers_is_what_it_was(tmp_path, dictionary):
    assert set(header(dictionary).fits) == {"dictionary", "types"}
    write_teacher(tmp_path / "teacher.safetensors", attention(12), header(dictionary))
    assert regularisers_of(read_teacher(str(tmp_path / "teacher.safetensors"), dictionary)) == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"coefficients": 5}, "gives 5 coefficients, but the form .* of 12 target types with 2 weights .* has 6: pass"),
        ({"names": "r_drop,other"}, "teacher.safetensors: there is no regulariser named 'other'"),
        ({"regularisers": 3}, "header has regularisers = 3, wanted a str"),
        ({"regularisers": "r_drop("}, "the regulariser is 'r_drop\\('"),
    ],
)
def test_wrong_regularisers_are_named(tmp_path, dictionary, given, words):
    path = tmp_path / "teacher.safetensors"
    write_teacher(path, *regularised(dictionary, **given))
    with pytest.raises(InputError, match=words) as caught:
        read_teacher(str(path), dictionary)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


# What is refused -----------------------------------------------------------------


def missing(path, dictionary):
    pass


def truncated(path, dictionary):
    write_teacher(path, attention(12), header(dictionary))
    path.write_bytes(path.read_bytes()[:100])


def truncated_checkpoint(path, dictionary):
    save_checkpoint(path, attention(12), present_header(dictionary))
    path.write_bytes(path.read_bytes()[:500])


def text(path, dictionary):
    path.write_text("this is no teacher")


def without_header(path, dictionary):
    save_file({"values": torch.ones(3, 5), "keys": torch.ones(5, 3)}, path)


def without_a_field(path, dictionary):
    found = first_header(dictionary)
    del found["signature"]
    save_checkpoint(path, attention(12), found)


def student(path, dictionary):
    save_checkpoint(path, attention(12), None)


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("hostile-was-here",)


def hostile_zip(path, dictionary):
    torch.save({"model": Hostile()}, path)


def hostile_pickle(path, dictionary):
    path.write_bytes(pickle.dumps(Hostile()))


def other_size(path, dictionary):
    found = {**first_header(dictionary), "types": 9}
    save_checkpoint(path, attention(9), found)


def other_words(path, dictionary):
    save_checkpoint(path, attention(12), {**first_header(dictionary), "dictionary": "0123456789abcdef"})


def other_features(path, dictionary):
    write_teacher(path, attention(12, 2), header(dictionary, features=("updates", "dev_bleu")))


def other_order(path, dictionary):
    write_teacher(path, attention(12), header(dictionary, features=("updates", "dev_bleu", "train_bleu")))


def other_form(path, dictionary):
    write_teacher(path, attention(12), header(dictionary, form="matrix"))


def no_form(path, dictionary):
    write_teacher(path, attention(12), header(dictionary, form="round"))


def no_kind(path, dictionary):
    write_teacher(path, attention(12), header(dictionary, kind="strict"))


def other_kind(path, dictionary):
    write_teacher(path, attention(12), header(dictionary, kind="static"))


WRONG = [
    (missing, "does not exist: pass the checkpoint_best.pt"),
    (truncated, "or is damaged"),
    (truncated_checkpoint, "damaged"),
    (text, "is not a safetensors file"),
    (without_header, "no teacher header"),
    (without_a_field, "signature"),
    (student, "is a checkpoint, but not of a teacher: pass the checkpoint_best.pt"),
    (hostile_zip, "not safe to load"),
    (hostile_pickle, "is not a safetensors file"),
    (other_size, "trained on 9 target types, this dictionary has 12: pass the data-bin"),
    (other_words, "another target dictionary"),
    (other_features, "2 features.*translation has 3"),
    (other_order, r"3 features \['updates', 'dev_bleu', 'train_bleu'\], translation has"),
    (other_form, "gives 12 coefficients, but the form matrix of 12 target types has 144"),
    (no_form, "no form named 'round'"),
    (no_kind, "no teacher named 'strict'"),
    (other_kind, "needs the tensor 'phi'"),
]


@pytest.mark.parametrize(("make", "words"), WRONG, ids=[make.__name__ for make, _ in WRONG])
def test_wrong_files_are_named(tmp_path, monkeypatch, dictionary, make, words):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "teacher"
    make(path, dictionary)
    with pytest.raises((InputError, MissingFileError), match=words) as caught:
        read_teacher(str(path), dictionary)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "hostile-was-here").exists()


def test_an_empty_checkpoint_is_called_one(tmp_path, dictionary):
    (tmp_path / "checkpoint_last.pt").touch()
    with pytest.raises(InputError, match=r"checkpoint_last.pt .*pass a checkpoint of a dlf_teaching run"):
        read_teacher(str(tmp_path / "checkpoint_last.pt"), dictionary)


def test_the_order_of_types_is_part_of_the_fingerprint(dictionary, tiny):
    other = tiny("lstm").task.target_dictionary
    assert dictionary_fingerprint(other) == dictionary_fingerprint(dictionary)
    first, last = other.nspecial, len(other) - 1
    other.symbols[first], other.symbols[last] = other.symbols[last], other.symbols[first]
    assert dictionary_fingerprint(other) != dictionary_fingerprint(dictionary)
