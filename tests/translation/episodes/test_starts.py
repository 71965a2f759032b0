"""The students that `--student` names, and where their episodes start."""

import pytest

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.episodes.starts import Origin, origins

NAMED = {
    "one": ("a.pt", "continue", [("a.pt", "continue")]),
    "one with its way": ("fresh:a.pt", "warm", [("a.pt", "fresh")]),
    "several": ("a.pt, b.pt", "warm", [("a.pt", "warm"), ("b.pt", "warm")]),
    "each its own": ("a,fresh:a,continue:b", "warm", [("a", "warm"), ("a", "fresh"), ("b", "continue")]),
    "the others": ("warm:a.pt,b.pt", "fresh", [("a.pt", "warm"), ("b.pt", "fresh")]),
    "a colon in a name": ("cold:a.pt", "warm", [("cold:a.pt", "warm")]),
}


@pytest.mark.parametrize(("students", "start", "wanted"), NAMED.values(), ids=NAMED)
def test_each_student_has_a_checkpoint_and_a_way(students, start, wanted):
    assert origins(students, start) == [Origin(*each) for each in wanted]


def test_the_name_of_a_file_is_that_file(tmp_path):
    for name in ("a,b.pt", "fresh:c.pt"):
        path = tmp_path / name
        path.touch()
        assert origins(str(path), "warm") == [Origin(str(path), "warm")]


@pytest.mark.parametrize("students", ["a.pt,", ",a.pt", "a.pt,,b.pt", "fresh:", "a.pt,fresh:"])
def test_a_missing_checkpoint_is_named(students):
    with pytest.raises(InputError, match=f"--student {students} lacks a checkpoint: write CHECKPOINT,CHECKPOINT"):
        origins(students, "warm")


@pytest.mark.parametrize("students", ["fresh:a.pt", "warm:a.pt,fresh:b.pt"])
def test_a_start_that_no_student_takes_is_refused(students):
    with pytest.raises(InputError, match="--student-start continue would be ignored, .*: leave it out"):
        origins(students, "continue")
