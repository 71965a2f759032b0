"""The page on extending, in translation: its criterion trains by `fairseq-train --user-dir own_translation`."""

import math
import re
from pathlib import Path

import pytest

import fairseq_dlf
from tests.end_to_end.commands import MODULES, last_number
from tests.forking import run
from tests.translation.tiny_runs import SHORT, STUDENT, make_data_bin

PAGE = (Path(fairseq_dlf.__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`own_translation/(\w+\.py)`:\n\n```python\n(.*?)```", PAGE, re.S))


@pytest.fixture
def own(tmp_path):
    """The folder with the package `own_translation`."""
    folder = tmp_path / "own_translation"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_page_has_three_files_of_fewer_than_40_lines():
    assert set(FILES) == {"__init__.py", "confidence.py", "focal.py"}
    assert max(len(text.splitlines()) for text in FILES.values()) < 40


def test_an_own_criterion_trains_and_its_student_decodes(own, tmp_path):
    data = make_data_bin(tmp_path / "data")
    options = [*SHORT, "--user-dir", own, "--log-format=simple"]
    options += [*STUDENT, "--max-update=2"]
    printed = {}
    for gamma in (0, 1):
        focal = ["--criterion=focal", f"--focal-gamma={gamma}", "--save-dir", tmp_path / f"gamma-{gamma}"]
        done = run(MODULES["fairseq-train"], data, *options, *focal)
        assert done.status == 0, done.printed[-3000:]
        printed[gamma] = done.printed
        assert last_number("easy_share", done.printed) == 0
    # Without focus it is cross-entropy, in base 2 as all of fairseq's criterions log it.
    assert last_number("loss", printed[0]) == pytest.approx(last_number("nll_loss", printed[0]), abs=2e-3)
    assert 0 < last_number("loss", printed[1]) < 0.98 * last_number("nll_loss", printed[1])
    student = tmp_path / "gamma-1" / "checkpoint_best.pt"
    which = ["--path", student, "--gen-subset=valid", "--batch-size=4", "--required-batch-size-multiple=1", "--cpu"]
    done = run(MODULES["fairseq-generate"], data, "--user-dir", own, *which)
    assert done.status == 0, done.printed[-3000:]
    assert len(re.findall(r"^H-", done.printed, re.M)) == 4


def test_an_own_regulariser_is_its_formula_in_a_student_s_training(own, tmp_path):
    data = make_data_bin(tmp_path / "data")
    options = [*SHORT, "--user-dir", own, "--log-format=simple", *STUDENT, "--max-update=2", "--criterion=dlf"]
    options += ["--form=bins(number=1,linear=1)", "--regularisers=confidence(start=0.5)"]
    done = run(MODULES["fairseq-train"], data, *options, "--save-dir", tmp_path / "run")
    assert done.status == 0, done.printed[-3000:]
    # A student that has hardly begun is uniform over 14 types.
    penalty = last_number("confidence", done.printed)
    assert penalty == pytest.approx(-math.log(14), abs=0.05) and last_number("w_confidence", done.printed) == 0.5
    loss, nll = (math.log(2) * last_number(name, done.printed) for name in ("loss", "nll_loss"))
    assert loss == pytest.approx(nll + 0.5 * penalty, abs=2e-3)
