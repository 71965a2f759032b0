"""Teachers and students of image classification on disk."""

import dataclasses

import pytest
import torch

from fairseq_dlf.core.files.tensor_file import write_tensor_file
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader, write_teacher
from fairseq_dlf.core.teaching.teachers import AttentionTeacher
from fairseq_dlf.images.students.progress import features
from fairseq_dlf.images.teachers.files import _few, ce_share_of, model_of, read_teacher

FITS = {"class_names": ["a", "b", "c"], "data": "mnist", "model": "mlp", "ce_share": 0.25}
HEADER = TeacherHeader("attention", "matrix", features(3), "dlf-images|…", FITS)


def other(**fits):
    return dataclasses.replace(HEADER, fits={**FITS, **fits})


def teacher(coefficients=9, inputs=6):
    torch.manual_seed(1)
    return AttentionTeacher(torch.randn(coefficients, 4), torch.randn(4, inputs))


def test_what_is_written_is_read(data, tmp_path):
    made = teacher()
    write_teacher(tmp_path / "t.safetensors", made, HEADER)
    found = read_teacher(tmp_path / "t.safetensors", data())
    assert found.header == HEADER
    assert (ce_share_of(found), model_of(found)) == (0.25, "mlp")
    assert torch.equal(found.teacher.values, made.values) and torch.equal(found.teacher.keys, made.keys)
    assert not any(parameter.requires_grad for parameter in found.teacher.parameters())


def test_the_digest_is_that_of_the_parameters(data, tmp_path):
    made, digests = teacher(), []
    for signature in ("one", "two"):
        write_teacher(tmp_path / signature, made, dataclasses.replace(HEADER, signature=signature))
        digests.append(read_teacher(tmp_path / signature, data()).digest)
    with torch.no_grad():
        made.keys[0, 0] += 1e-6
    write_teacher(tmp_path / "three", made, HEADER)
    assert digests[0] == digests[1] != read_teacher(tmp_path / "three", data()).digest


def other_classes(path):
    header = dataclasses.replace(other(class_names=["a", "b"]), features=features(2))
    write_teacher(path, teacher(4, 5), header)


def other_names(path):
    write_teacher(path, teacher(), other(class_names=["cat", "dog", "eel"]))


def other_sizes(path):
    write_teacher(path, teacher(9, 5), HEADER)


def of_translation(path):
    header = {"features": ["updates"], "dictionary": "x", "types": 9, "signature": "dlf|…"}
    write_tensor_file(path, "teacher", teacher().state_dict(), header)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist: pass the teacher.safetensors"),
        (lambda path: path.write_text("text"), "is not a safetensors file"),
        (other_classes, "taught on 2 classes, mnist has 3"),
        (other_names, "taught on the classes cat, dog, eel, mnist has a, b, c"),
        (other_sizes, "9 coefficients of the form matrix from 6 features, mnist wants 9 from 6"),
        (of_translation, "header has class_names = None, wanted a list"),
    ],
)
def test_teachers_that_do_not_fit_are_named(data, tmp_path, make, words):
    make(tmp_path / "t")
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        read_teacher(tmp_path / "t", data())


def test_a_teacher_of_the_first_version_is_read(data, tmp_path):
    """Its header names neither kind nor form, and has what must fit among its own fields."""
    old = {**FITS, "features": list(features(3)), "signature": "dlf-images|student:mlp:fresh|…"}
    write_tensor_file(tmp_path / "t", "teacher", teacher().state_dict(), old)
    found = read_teacher(tmp_path / "t", data())
    assert found.header == dataclasses.replace(HEADER, signature=old["signature"])


@pytest.mark.parametrize(("names", "text"), [("abc", "a, b, c"), ("abcd", "a, b, c, …"), ("abcde", "a, b, c, …")])
def test_three_classes_are_named(names, text):
    assert _few(tuple(names)) == text


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_cross_entropy_may_be_nothing_or_all(data, tmp_path, share):
    write_teacher(tmp_path / "t.safetensors", teacher(), other(ce_share=share))
    assert ce_share_of(read_teacher(tmp_path / "t.safetensors", data())) == share


@pytest.mark.parametrize("share", [-0.5, 1.5])
def test_a_share_of_cross_entropy_out_of_range_is_named(data, tmp_path, share):
    write_teacher(tmp_path / "t.safetensors", teacher(), other(ce_share=share))
    with pytest.raises(ValueError, match=f"ce_share = {share:g}, wanted 0 to 1"):
        read_teacher(tmp_path / "t.safetensors", data())
