"""Files of a comparison."""

import pytest

from tests.translation.tools.made_outputs import REFERENCES


@pytest.fixture
def write(tmp_path):
    """Writes text to a file of a folder with a space in its name."""
    folder = tmp_path / "a folder"
    folder.mkdir()

    def write_file(name, text):
        path = folder / name
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return write_file


@pytest.fixture
def references(write):
    return write("test.en", "\n".join(REFERENCES) + "\n")
