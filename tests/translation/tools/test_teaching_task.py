"""The task of teaching outside of `fairseq-train`."""

import pytest

from fairseq_dlf.core.support.errors import MissingFileError
from fairseq_dlf.translation.teachers.task import DlfTeachingTask
from fairseq_dlf.translation.tools.teaching_task import teaching_task
from tests.translation.tiny_runs import STUDENT, dictionary, train


def test_it_has_what_the_options_name(data, tmp_path):
    train(data, tmp_path, *STUDENT, "--max-update=1", "--disable-validation")
    given = [f"--student={tmp_path / 'checkpoint_last.pt'}", "--student-steps=3", "--form=smoothed", "--phi-start=0.5"]
    found = teaching_task([str(data), *given, "--cpu"])
    assert isinstance(found.task, DlfTeachingTask) and found.lessons is found.task.lessons
    assert (found.lessons.loss.form.name, found.lessons.plan.steps, found.device.type) == ("smoothed", 3, "cpu")
    assert (found.teacher.coefficients, found.phi_start) == (found.lessons.loss.form.size(len(dictionary())), 0.5)


def test_a_student_that_is_not_there_is_named(data, tmp_path):
    with pytest.raises(MissingFileError, match="none.pt"):
        teaching_task([str(data), f"--student={tmp_path / 'none.pt'}", "--student-steps=3", "--cpu"])
