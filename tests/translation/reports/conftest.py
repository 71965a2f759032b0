"""A data-bin of which only the dictionaries are there, and teachers of it."""

import pytest

from fairseq_dlf.translation.reports.vocabulary import Vocabulary
from tests.translation.reports.made_teachers import dictionary_of_words, write


@pytest.fixture
def data(tmp_path):
    """A data-bin without sentences."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for language in ("de", "en"):
        dictionary_of_words().save(str(folder / f"dict.{language}.txt"))
        (folder / f"train.de-en.{language}.idx").touch()
    return folder


@pytest.fixture
def vocabulary():
    return Vocabulary.of(dictionary_of_words())


@pytest.fixture
def save(tmp_path):
    """Writes a teacher: `save(name, teacher, form, …)`."""
    return lambda name, *given, **named: write(tmp_path / f"{name}.safetensors", *given, **named)
