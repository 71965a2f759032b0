"""Teachers on disk: what is written is read, in both versions, and damaged headers are named."""

import dataclasses
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from fairseq_dlf.core.files.tensor_file import write_tensor_file
from fairseq_dlf.core.support.errors import UserError
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader, read_teacher, write_teacher
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, LSTMTeacher, StaticTeacher

HEADER = TeacherHeader(
    "attention", "diagonal", ("updates", "place"), "toy|steps:3", {"classes": ["a", "b"], "share": 1}
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "teacher.safetensors"


def attention():
    torch.manual_seed(1)
    return AttentionTeacher(torch.randn(3, 4), torch.randn(4, 2))


def read(path, first_form="matrix"):
    return read_teacher(path, first_form, "teach one first")


def lstm():
    """A teacher after a step, whose memory is not as it began."""
    torch.manual_seed(1)
    teacher = LSTMTeacher.untaught(torch.tensor([1.0, 2.0, 0.5]), features=2, width=3)
    teacher.keep(teacher.advance(teacher.start(), torch.tensor([0.1, -1.0, 0.0])))
    return teacher


KINDS = [attention(), StaticTeacher(torch.tensor([1.0, 2.0, 0.5])), lstm()]


@pytest.mark.parametrize("teacher", KINDS, ids=lambda teacher: teacher.kind)
def test_what_is_written_is_read(path, teacher):
    header = dataclasses.replace(HEADER, kind=teacher.kind)
    write_teacher(path, teacher, header)
    found = read(path)
    assert found.header == header and found.path == path and type(found.teacher) is type(teacher)
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(found.teacher.state_dict()[name], tensor)
    assert not any(parameter.requires_grad for parameter in found.teacher.parameters())


def test_the_first_version_named_neither_kind_nor_form(path):
    """What had to fit stood among the header's own fields."""
    first = {"features": ["updates", "place"], "signature": "toy|old", "classes": ["a", "b"], "share": 1}
    write_tensor_file(path, "teacher", attention().state_dict(), first)
    for form in ("matrix", "diagonal"):
        found = read(path, first_form=form).header
        assert found == dataclasses.replace(HEADER, form=form, signature="toy|old")


def test_the_digest_is_that_of_the_parameters_alone(path):
    teacher, digests = attention(), []
    for signature in ("one", "two"):
        write_teacher(path, teacher, dataclasses.replace(HEADER, signature=signature))
        digests.append(read(path).digest)
    with torch.no_grad():
        teacher.keys[0, 0] += 1e-6
    write_teacher(path, teacher, HEADER)
    assert digests[0] == digests[1] != read(path).digest and len(digests[0]) == 8


def test_a_missing_file_is_named_with_what_to_pass(path):
    with pytest.raises(FileNotFoundError, match="teacher.safetensors' does not exist: teach one first") as caught:
        read(path)
    assert caught.value.setting == "teacher"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"kind": "oracle"},
            "no teacher named 'oracle': wanted one of attention, coefficient_controller, controller, lstm",
        ),
        ({"kind": 3}, "kind is 3, wanted text"),
        ({"kind": "static"}, "a static teacher needs the tensor 'phi'"),
        ({"form": "cube"}, "no form named 'cube': wanted one of bins, diagonal, loss_network, matrix"),
        ({"form": "matrix("}, r"the form is 'matrix\(', wanted NAME or NAME"),
        ({"form": "matrix(rank=3)"}, "the form matrix has no option rank: its options are linear=0"),
        ({"features": "updates"}, "features is 'updates', wanted a list"),
        ({"features": [1]}, r"features\[0\] is 1, wanted text"),
        ({"signature": None}, "signature is None, wanted text"),
        ({"fits": 7}, "fits is 7, wanted fields"),
        ({"mood": "good"}, "unknown fields 'mood'"),
    ],
)
def test_a_damaged_header_is_named_with_its_file(path, changes, words):
    write_tensor_file(path, "teacher", attention().state_dict(), {**asdict(HEADER), **changes})
    with pytest.raises(UserError, match=f"teacher.safetensors.*{words}"):
        read(path)


@pytest.mark.parametrize("missing", ["features", "signature"])
def test_a_header_without_a_field_is_refused(path, missing):
    header = {name: value for name, value in asdict(HEADER).items() if name != missing}
    write_tensor_file(path, "teacher", attention().state_dict(), header)
    with pytest.raises(
        ValueError, match=f"teacher.safetensors.*lacks the fields '{missing}'.*export the teacher again"
    ):
        read(path)


def test_a_header_that_is_no_mapping_is_refused():
    with pytest.raises(ValueError, match="x has a list for a teacher header"):
        TeacherHeader.from_mapping(["kind"], Path("x"), "matrix")


def test_tensors_of_another_precision_are_refused(path):
    write_tensor_file(path, "teacher", attention().double().state_dict(), asdict(HEADER))
    with pytest.raises(ValueError, match="teacher.safetensors.*float32"):
        read(path)


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [("share", float, 1.0), ("classes", list, ["a", "b"])],
)
def test_what_must_fit_is_read_by_name(name, kind, value):
    assert HEADER.fit(name, kind, Path("x")) == value


@pytest.mark.parametrize(
    ("fits", "kind", "words"),
    [
        ({}, str, "x is a teacher whose header has model = None, wanted a str"),
        ({"model": 3}, str, "model = 3, wanted a str"),
        ({"model": True}, float, "model = True, wanted a float"),
        ({"model": "3"}, float, "model = '3', wanted a float: pass a teacher of this front end"),
    ],
)
def test_what_does_not_fit_by_its_type_is_named(fits, kind, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(HEADER, fits=fits).fit("model", kind, Path("x"))
