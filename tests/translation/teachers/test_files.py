"""Teachers on disk: round trips, and every kind of wrong file."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fairseq_dlf.core.teaching.teachers import AttentionTeacher
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.teachers.files import (
    MODEL_PREFIX,
    TASK_STATE_KEY,
    TeacherFile,
    TeacherHeader,
    dictionary_fingerprint,
    export_checkpoint,
    read_teacher,
    write_safetensors,
)


@pytest.fixture
def dictionary(tiny):
    return tiny("lstm").task.target_dictionary


@pytest.fixture
def taught(dictionary):
    """A teacher for the dictionary, with settable faults."""

    def build(types=None, features=FEATURES, fingerprint=None):
        types = len(dictionary) if types is None else types
        teacher = AttentionTeacher.untaught(torch.rand(types), len(features), 5)
        fingerprint = dictionary_fingerprint(dictionary) if fingerprint is None else fingerprint
        return TeacherFile(teacher, TeacherHeader(list(features), fingerprint, types, "dlf|test"))

    return build


def save_checkpoint(path: Path, made: TeacherFile) -> Path:
    model = {MODEL_PREFIX + name: tensor for name, tensor in made.teacher.state_dict().items()}
    header = {name: getattr(made.header, name) for name in ("features", "dictionary", "types", "signature")}
    torch.save({"model": model, "task_state": {TASK_STATE_KEY: header}}, path)
    return path


def test_both_kinds_of_file_hold_the_same_teacher(tmp_path, dictionary, taught):
    made = taught()
    checkpoint = save_checkpoint(tmp_path / "checkpoint_best.pt", made)
    exported = export_checkpoint(checkpoint)
    assert exported == tmp_path / "checkpoint_best.safetensors"
    for path in (checkpoint, exported):
        read = read_teacher(str(path), dictionary)
        assert read.header == made.header
        assert torch.equal(read.teacher.values, made.teacher.values)
        assert torch.equal(read.teacher.keys, made.teacher.keys)
        assert not any(p.requires_grad for p in read.teacher.parameters())


def missing(path, taught):
    return path


def truncated(path, taught):
    write_safetensors(path, taught())
    path.write_bytes(path.read_bytes()[:100])
    return path


def truncated_checkpoint(path, taught):
    save_checkpoint(path, taught())
    path.write_bytes(path.read_bytes()[:500])
    return path


def text(path, taught):
    path.write_text("this is no teacher")
    return path


def without_header(path, taught):
    save_file({"values": torch.ones(3, 5), "keys": torch.ones(5, 3)}, path)
    return path


def student(path, taught):
    torch.save({"model": {"encoder.x": torch.ones(2)}, "task_state": {}}, path)
    return path


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("hostile-was-here",)


def hostile_zip(path, taught):
    torch.save({"model": Hostile()}, path)
    return path


def hostile_pickle(path, taught):
    path.write_bytes(pickle.dumps(Hostile()))
    return path


def other_size(path, taught):
    write_safetensors(path, taught(types=9))
    return path


def other_words(path, taught):
    write_safetensors(path, taught(fingerprint="0123456789abcdef"))
    return path


def other_features(path, taught):
    write_safetensors(path, taught(features=("updates", "dev_bleu")))
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (missing, "does not exist: pass the checkpoint_best.pt"),
        (truncated, "or is damaged"),
        (truncated_checkpoint, "damaged"),
        (text, "is not a safetensors file"),
        (without_header, "no teacher header"),
        (student, "not of a teacher"),
        (hostile_zip, "not safe to load"),
        (hostile_pickle, "is not a safetensors file"),
        (other_size, "trained on 9 target types, this dictionary has 12: pass the data-bin"),
        (other_words, "another target dictionary"),
        (other_features, "2 features.*translation has 3"),
    ],
)
def test_wrong_files_are_named(tmp_path, monkeypatch, dictionary, taught, make, words):
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path / "teacher", taught)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        read_teacher(str(path), dictionary)
    assert not (tmp_path / "hostile-was-here").exists()


def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(tmp_path, monkeypatch, dictionary, taught):
    path, old = tmp_path / "teacher.safetensors", taught()
    write_safetensors(path, old)

    def full(self, data):
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="the disk is full: .*teacher.safetensors could not be written"):
        write_safetensors(path, taught())
    assert [p.name for p in tmp_path.iterdir()] == ["teacher.safetensors"]
    assert torch.equal(read_teacher(str(path), dictionary).teacher.values, old.teacher.values)
