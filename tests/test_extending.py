"""The page on extending: its files are written to a package of their own, registered, taught and trained with."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fairseq_dlf
from fairseq_dlf.core import (
    ESTIMATORS,
    FORMS,
    TEACHERS,
    DynamicLoss,
    EpisodePlan,
    Guidance,
    Reverse,
    Student,
    log_probs,
)
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.teacher_file import read_teacher
from fairseq_dlf.images.command_line import main
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.losses import LOSSES, LossInput
from fairseq_dlf.images.losses.registry import Scores
from fairseq_dlf.images.measures import MEASURES
from fairseq_dlf.images.records.training import read_record
from tests.core.teaching.toy import FEATURES, ToyLesson
from tests.forking import ONE_THREAD, TIMEOUT_S

ROOT = Path(fairseq_dlf.__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`own/(\w+\.py)`[^`]*?\n\n```python\n(.*?)```", PAGE, re.S))
FEW = "--data digits --model mlp-4 --train-images 96 --epochs 1 --lr 0.3 --threads 1 --progress-images 30"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder with the package `own`, imported for one test: the registries forget it afterwards."""
    folder = tmp_path / "own"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    for registry in (FORMS, TEACHERS, ESTIMATORS, MEASURES, LOSSES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    importlib.import_module("own")
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "own"]:
        del sys.modules[name]


def commands():
    """The commands of the page on images, without their program, each as one string."""
    block = re.search(r"```bash\n(.*?)```", PAGE, re.S)[1].replace("\\\n", " ")
    return [line.removeprefix("python -m fairseq_dlf.images ") for line in block.splitlines()]


def test_the_page_has_six_files_of_fewer_than_40_lines():
    assert set(FILES) == {
        f"{name}.py" for name in ("__init__", "uniform", "remembering", "two_point", "brier", "focal")
    }
    assert {name: len(text.splitlines()) for name, text in FILES.items() if len(text.splitlines()) >= 40} == {}


def test_the_commands_of_the_page_teach_and_train(own, caplog):
    teach, with_teacher, with_loss = commands()
    assert main(shlex.split(f"{teach} {FEW} --teacher-steps 2 --validate-every 1 --teacher-lr 0.01")) == 0
    assert main(shlex.split(f"{with_teacher} {FEW}")) == 0
    assert main(shlex.split(f"{with_loss} {FEW}")) == 0
    read = read_teacher(own / "teacher" / "teacher_last.safetensors", "matrix", "")
    assert (read.header.kind, read.header.form) == ("remembering", "uniform")
    assert read.teacher.coefficients == 11 and float(read.teacher.decay) == 0.5
    assert not torch.equal(read.teacher.base[:10], torch.ones(10)) and read.teacher.weight.any()
    signature = Signature.parse(read.header.signature)
    wanted = {"form": "uniform", "teacher": "remembering", "teacher_options": "decay=0.5", "measure": "brier"}
    assert {name: signature.get(name) for name in wanted} == wanted
    assert (signature.get("estimator"), signature.get("sigma")) == ("two_point", "0.02")
    records = [read_record(own / name / "seed1" / "record.json") for name in ("student", "baseline")]
    assert [record.loss for record in records] == ["dlf", "focal"]
    assert Signature.parse(records[1].signature).get("loss_options") == "gamma=1"


def test_a_module_is_imported_by_the_program_itself(own):
    """In a process of its own, which knows nothing of `own` but its name."""
    variables = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "fairseq_dlf.images", "train", "--import", "own", "--loss", "focal", "--help"]
    done = subprocess.run(command, env=variables, cwd=own, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0 and "focal loss, −(1 − p(y))^gamma log p(y)" in " ".join(done.stdout.split())


def test_without_its_module_a_name_is_unknown(tmp_path, capsys):
    assert main(shlex.split(f"teach {FEW} --form uniform --out {tmp_path / 'x'}")) == 1
    known = ", ".join(sorted(FORMS))
    assert f"there is no form named 'uniform': wanted one of {known} (--form)" in capsys.readouterr().err


def test_the_form_is_its_formula(own):
    torch.manual_seed(1)
    logits, target, phi = torch.randn(5, 4), torch.tensor([0, 3, 2, 2, 1]), torch.randn(5)
    table = torch.log_softmax(logits, dim=-1)
    wanted = torch.stack([phi[y] * table[row, y] + phi[4] * table[row].mean() for row, y in enumerate(target)])
    form = FORMS.make("uniform")
    torch.testing.assert_close(form.reward(phi, log_probs(logits, target, summed=True)), wanted)
    torch.testing.assert_close(DynamicLoss(form)(logits, target, phi).loss, -torch.sigmoid(wanted).sum())
    neutral = form.reward(form.neutral(4), log_probs(logits, target, summed=True))
    torch.testing.assert_close(neutral, table.gather(1, target.unsqueeze(1)).squeeze(1))


def test_the_teacher_is_its_formula_and_keeps_its_bounds(own):
    torch.manual_seed(1)
    teacher = TEACHERS.make("remembering(decay=0.75)", neutral=torch.tensor([1.0, 0.0]), features=3)
    assert torch.equal(teacher.along(torch.rand(4, 3)), torch.tensor([1.0, 0.0]).expand(4, 2))
    with torch.no_grad():
        teacher.weight += torch.randn(2, 3)
    progress, mean = torch.rand(4, 3), torch.zeros(3)
    for t in range(4):
        mean = 0.75 * mean + 0.25 * progress[t]
        torch.testing.assert_close(teacher.along(progress)[t], teacher.base + teacher.weight @ mean)
    head, memory = teacher(progress[:2], teacher.start())
    torch.testing.assert_close(torch.cat([head, teacher(progress[2:], memory)[0]]), teacher.along(progress))
    teacher.bound(torch.tensor([0.5, -0.1]), torch.tensor([2.0, float("inf")]))
    found = teacher.along(torch.rand(200, 3))
    assert bool((found[:, 0] >= 0.5).all()) and bool((found[:, 0] <= 2.0).all()) and bool((found[:, 1] >= -0.1).all())


def test_the_estimators_gradient_is_the_slope_that_the_reverse_pass_finds(own):
    """Along its noise ε it is ⟨ε, dΦ⟩ ε, which is dΦ on average."""
    torch.manual_seed(1)
    plan, draws = EpisodePlan(7, collapse_share=0.0), []
    teacher = TEACHERS.make("attention", neutral=torch.ones(2), features=len(FEATURES)).double()

    def gradient(estimator, seed):
        lesson, free = ToyLesson(dtype=torch.float64), torch.zeros(7, 2, dtype=torch.float64, requires_grad=True)
        lesson.step = lambda t, step=lesson.step: step(t)._replace(seed=seed)
        found = estimator(lesson, Guidance(lesson, teacher, len(FEATURES)), lambda progress: free)
        assert found.collapse is None and found.figures["measure_after"] > found.figures["measure_before"]
        return -torch.autograd.grad(found.loss, free)[0]

    wanted = gradient(Reverse(plan), 0)
    for seed in range(20):
        found = gradient(ESTIMATORS.make("two_point(sigma=1e-4)", plan=plan), seed)
        torch.manual_seed(seed)
        noise = torch.randn(7, 2, dtype=torch.float64)
        torch.testing.assert_close(found, (noise * wanted).sum() * noise, rtol=1e-4, atol=1e-9)
        draws.append(found)
    assert torch.cosine_similarity(torch.stack(draws).mean(dim=0).flatten(), wanted.flatten(), dim=0) > 0.5


def test_the_measure_and_its_cotangent_are_their_formula(own):
    torch.manual_seed(1)
    images = ImageSet(torch.randn(6, 1, 2, 2), torch.tensor([0, 1, 2, 2, 1, 0]))
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3), AsScores())
    student = Student(module, lambda forward, coefficients, batch: forward(batch).logits.sum())
    measure, params = MEASURES.make("brier", student=student, images=images), student.flat_params()
    probs = torch.softmax(module(images.images).logits, dim=-1).tolist()
    wrong = [
        sum((p - (place == y)) ** 2 for place, p in enumerate(row))
        for row, y in zip(probs, images.labels.tolist(), strict=True)
    ]
    assert measure.value(params) == pytest.approx(1 - sum(wrong) / 2 / 6, rel=1e-5)
    direction = torch.randn_like(params)
    ahead, behind = (measure.value(params + step * direction) for step in (1e-2, -1e-2))
    slope = float(measure.value_and_cotangent(params).cotangent @ direction)
    assert slope == pytest.approx((ahead - behind) / 2e-2, rel=1e-2) and abs(slope) > 1e-3


class AsScores(torch.nn.Module):
    """What a model of images puts out, of which only the logits matter."""

    def forward(self, logits):
        return Scores(logits, logits, logits)


@pytest.mark.parametrize("gamma", [0.0, 1.5])
def test_the_loss_is_its_formula(own, gamma):
    torch.manual_seed(1)
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 2, 0])
    p = torch.softmax(logits, dim=-1)[torch.arange(5), labels]
    given = LossInput(Scores(logits, logits, logits), labels, torch.zeros(0), 0, 1)
    found = LOSSES.make(f"focal(gamma={gamma})")(given)
    torch.testing.assert_close(found, ((1 - p) ** gamma * -p.log()).mean())
