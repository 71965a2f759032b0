"""Training: resuming bit for bit, the best by dev, test read once, rates tried."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.core.files.run_folder import STATE_NAME
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.loop.collapse import CollapsedError
from fairseq_dlf.core.teaching.teacher_file import TeacherFile, TeacherHeader
from fairseq_dlf.core.teaching.teachers import AttentionTeacher
from fairseq_dlf.images.records.training import RECORD_NAME
from fairseq_dlf.images.students.files import StudentFile, read_student
from fairseq_dlf.images.students.models import build_model
from fairseq_dlf.images.students.tasks import classification
from fairseq_dlf.images.training.seeds import run_seeds
from fairseq_dlf.images.training.settings import TrainingSettings
from fairseq_dlf.images.training.training import BEST_NAME, Training, trainings


@pytest.fixture
def taught():
    torch.manual_seed(5)
    values = torch.eye(3).flatten().unsqueeze(1) + 0.1 * torch.randn(9, 2)
    features = ("updates", "train_accuracy", "dev_accuracy", "precision_0", "precision_1", "precision_2")
    fits = {"class_names": ["a", "b", "c"], "data": "mnist", "model": "mlp", "ce_share": 0.0}
    header = TeacherHeader("attention", "matrix", features, "taught|step:4", fits)
    return TeacherFile(AttentionTeacher(values, torch.randn(2, 6)).requires_grad_(False), header, Path("t.safetensors"))


def settings_of(loss, student, taught):
    return TrainingSettings(student, loss, teacher=taught if loss == "dlf" else None)


@pytest.mark.parametrize("loss", ["cross_entropy", "smooth", "large_margin", "constant", "dlf"])
def test_every_loss_learns(data, student, taught, tmp_path, loss):
    rate = {"smooth": 0.002, "large_margin": 0.05}.get(loss, 0.2)
    settings = settings_of(loss, student(epochs=8.0, learning_rate=rate), taught)
    (record,) = run_seeds(trainings(data(), settings, [rate]), [1], tmp_path)
    assert record.test_error <= 15.0 and record.dev_error <= 15.0
    assert record.curve[-1].train_accuracy >= max(0.9, record.curve[0].train_accuracy)
    assert record.loss == loss and record.taught_on == ("mlp" if loss == "dlf" else None)


@pytest.mark.parametrize(("loss", "model"), [("dlf", "mlp-5"), ("cross_entropy", "resnet-8")])
def test_a_resumed_run_is_the_straight_run(data, student, taught, tmp_path, loss, model):
    images = data((1, 6, 6), augments=True)
    settings = settings_of(loss, student(model=model, epochs=3.0, momentum=0.9, learning_rate=0.05), taught)
    straight = Training(images, settings, 1, tmp_path / "straight").finish()
    for _ in range(2):
        Training(images, settings, 1, tmp_path / "broken")._epoch()
    record = Training(images, settings, 1, tmp_path / "broken").finish()
    assert dataclasses.replace(record, elapsed_s=0.0) == dataclasses.replace(straight, elapsed_s=0.0)
    tensors = [read_student(tmp_path / name / BEST_NAME).tensors for name in ("straight", "broken")]
    for name, tensor in tensors[0].items():
        assert torch.equal(tensor, tensors[1][name]), name
    states = [torch.load(tmp_path / name / STATE_NAME, weights_only=True) for name in ("straight", "broken")]
    assert torch.equal(states[0]["progress"], states[1]["progress"])


def test_plain_cross_entropy_is_what_torch_does(data, student, tmp_path):
    """The same updates by torch's own modules and optimiser, batch normalisation's figures included."""
    images, settings = data((1, 8, 8)), student(model="resnet-8", learning_rate=0.05, weight_decay=1e-3)
    made = Training(images, TrainingSettings(settings, "cross_entropy"), 1, tmp_path)
    module = build_model("resnet-8", (1, 8, 8), 3, seed=0)
    module.load_state_dict(made.course.student.module.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    for t in range(12):
        batch = made.course.batches.batch(t)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(batch.images).logits, batch.labels).backward()
        optimizer.step()
    made.run()
    torch.testing.assert_close(made.state.params, _flat(module), rtol=1e-3, atol=1e-5)
    for name, buffer in module.named_buffers():
        torch.testing.assert_close(made.state.buffers[name], buffer, rtol=1e-3, atol=1e-5)


def _flat(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_the_best_by_dev_is_tested_and_test_is_read_once(data, student, tmp_path, monkeypatch):
    images, read, tested = data(), [], []
    plain = classification.predictions

    def watched(student, params, buffers, pixels):
        read.append(pixels is images.test.images)
        tested.append(params.clone())
        return plain(student, params, buffers, pixels)

    monkeypatch.setattr(classification, "predictions", watched)
    values = iter([0.2, 0.2, 0.2, 0.9, 0.2, 0.9, 0.2, 0.5])  # train and dev of four epochs
    monkeypatch.setattr(classification, "accuracy", lambda *given: next(values))
    made = Training(images, TrainingSettings(student(epochs=4.0), "cross_entropy"), 1, tmp_path)
    states = []
    plain_epoch = made._epoch

    def epoch():
        plain_epoch()
        states.append(made.state.params.clone())

    monkeypatch.setattr(made, "_epoch", epoch)
    record = made.finish()
    assert read == [True]
    assert torch.equal(tested[0], states[1]) and not torch.equal(tested[0], states[3])
    assert record.best_epoch == 2 and record.dev_error == pytest.approx(10.0)
    student_file = read_student(tmp_path / BEST_NAME)
    module = made.course.student.module
    student_file.load_into(module)
    assert torch.equal(made.course.student.flat_params(), states[1])
    wrong = (module.eval()(images.test.images).logits.argmax(-1) != images.test.labels).nonzero().flatten()
    assert record.test_wrong == tuple(wrong.tolist())
    assert record.test_error == pytest.approx(100 * len(wrong) / 20)
    assert made.finish() == record and read == [True]


def test_of_several_rates_the_best_by_dev_is_taken_for_all_seeds(data, student, tmp_path, monkeypatch):
    images, seen = data(), []
    plain = classification.predictions
    monkeypatch.setattr(classification, "predictions", lambda *given: seen.append(1) or plain(*given))
    settings = TrainingSettings(student(epochs=4.0), "cross_entropy")
    records = run_seeds(trainings(images, settings, [1e-6, 0.1, 1e-5]), [1, 2], tmp_path)
    assert [(record.seed, record.learning_rate) for record in records] == [(1, 0.1), (2, 0.1)]
    assert len(seen) == 2
    assert sorted(path.parent.name for path in tmp_path.glob("*/record.json")) == ["seed1", "seed2"]
    alone = Training(
        images, settings_of("cross_entropy", student(epochs=4.0, learning_rate=0.1), None), 1, tmp_path / "a"
    )
    assert alone.finish().curve == records[0].curve


def test_a_rate_that_diverges_is_not_taken(data, student, tmp_path, caplog):
    settings = TrainingSettings(student(), "cross_entropy")
    (record,) = run_seeds(trainings(data(), settings, [0.1, 1e25]), [1], tmp_path)
    assert record.learning_rate == 0.1
    assert "is not finite after 6 updates: lower the learning rate" in caplog.text
    again = run_seeds(trainings(data(), settings, [0.1, 1e25]), [1], tmp_path)
    assert again == [record]


def test_a_wrong_rate_is_named_before_any_is_tried(data, student, tmp_path):
    with pytest.raises(InputError, match="learning_rate is -1.0, but must be positive"):
        run_seeds(trainings(data(), TrainingSettings(student(), "cross_entropy"), [0.1, -1.0]), [1], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_rate_whose_lessons_collapse_is_not_taken(tmp_path, caplog):
    def made(value, error=None):
        def run():
            if error is not None:
                raise error

        return lambda seed, folder: SimpleNamespace(best_accuracy=value, run=run, finish=lambda: (seed, value))

    runs = {0.1: made(0.2), 0.3: made(0.5), 1.0: made(0.1, CollapsedError("three in a row"))}
    for name in ("0.1", "0.3", "1"):
        (tmp_path / "rates" / name).mkdir(parents=True)
    assert run_seeds(runs, [4, 5], tmp_path) == [(4, 0.5), (5, 0.5)]
    assert "rate 1: three in a row" in caplog.text and (tmp_path / "seed4").is_dir()


def test_a_rate_at_the_edge_is_reported(data, student, tmp_path, caplog):
    settings = TrainingSettings(student(), "cross_entropy")
    run_seeds(trainings(data(), settings, [1e-6, 1e-5, 0.1]), [1], tmp_path)
    assert "0.1 is at the edge of those tried" in caplog.text


def test_a_loss_that_is_not_finite_ends_the_run(data, student, tmp_path):
    settings = TrainingSettings(student(learning_rate=1e25), "cross_entropy")
    with pytest.raises(RuntimeError, match="is not finite after 6 updates: lower the learning rate"):
        Training(data(), settings, 1, tmp_path).run()


def test_dlf_and_a_teacher_belong_together(student, taught):
    with pytest.raises(ValueError, match="the loss dlf takes its coefficients from a teacher: pass a teacher's file"):
        TrainingSettings(student(), "dlf")
    with pytest.raises(ValueError, match="the loss smooth takes no teacher"):
        TrainingSettings(student(), "smooth", teacher=taught)


def test_a_folder_of_other_settings_is_refused(data, student, tmp_path):
    Training(data(), TrainingSettings(student(), "cross_entropy"), 1, tmp_path).finish()
    (tmp_path / RECORD_NAME).unlink()
    with pytest.raises(ValueError, match="holds a run with other settings"):
        Training(data(), TrainingSettings(student(), "smooth"), 1, tmp_path)


def test_dev_and_a_part_of_train_as_large_are_measured_after_every_epoch(data, student, tmp_path, monkeypatch):
    images, seen = data(), []
    monkeypatch.setattr(classification, "accuracy", lambda *given: seen.append(given[-1]) or 0.5)
    Training(images, TrainingSettings(student(), "cross_entropy"), 1, tmp_path).run()
    assert len(seen) == 4
    for train, dev in (seen[:2], seen[2:]):
        assert torch.equal(train.images, images.train.images[:30]) and torch.equal(
            train.labels, images.train.labels[:30]
        )
        assert torch.equal(dev.images, images.dev.images) and torch.equal(dev.labels, images.dev.labels)


@pytest.mark.parametrize(("loss", "bias"), [("large_margin", False), ("cross_entropy", True)])
def test_the_last_layer_has_a_bias_where_the_loss_allows_it(data, student, tmp_path, loss, bias):
    made = Training(data(), TrainingSettings(student(), loss), 1, tmp_path)
    assert (made.course.student.module.head.bias is not None) == bias


def test_the_best_students_buffers_are_written_with_it(data, student, tmp_path):
    settings = TrainingSettings(student(model="resnet-8", epochs=1.0, learning_rate=0.05), "cross_entropy")
    made = Training(data(), settings, 1, tmp_path)
    before = {name: buffer.clone() for name, buffer in made.state.buffers.items()}
    made.run()
    written = read_student(tmp_path / BEST_NAME).tensors
    for name, buffer in made.state.buffers.items():
        assert torch.equal(written[name], buffer) and not torch.equal(buffer, before[name]), name


# The folder -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("curve", lambda value: None, "curve is None, wanted a list"),
        ("updates", lambda value: "x", "updates is 'x', wanted a whole number"),
        ("updates", lambda value: 7, "updates do not fit this run"),
        ("best_epoch", lambda value: 9, "updates do not fit this run"),
        ("params", lambda value: value[:-1], "params do not fit this run"),
        ("params", lambda value: value.double(), "params do not fit this run"),
        ("slots", lambda value: [], "slot 0 do not fit this run"),
        ("progress", lambda value: value[:3], "progress do not fit this run"),
        ("buffers", lambda value: {"more": value}, "buffers.more is .*, wanted a tensor"),
        ("best_accuracy", lambda value: [value], "best_accuracy is .*, wanted a number"),
    ],
)
def test_a_state_that_is_wrong_is_named_also_where_the_run_is_done(data, student, tmp_path, name, change, words):
    settings = TrainingSettings(student(epochs=1.0), "cross_entropy")
    Training(data(), settings, 1, tmp_path).run()
    path = tmp_path / "last.pt"
    state = torch.load(path, weights_only=True)
    torch.save({**state, name: change(state[name])}, path)
    with pytest.raises(InputError, match=f"last.pt is damaged.*{words}.*delete .* to start that run again"):
        Training(data(), settings, 1, tmp_path)


def test_a_best_student_that_is_lost_or_damaged_is_named(data, student, tmp_path):
    settings = TrainingSettings(student(epochs=1.0), "cross_entropy")
    Training(data(), settings, 1, tmp_path).run()
    for spoil in (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), lambda path: path.unlink()):
        spoil(tmp_path / BEST_NAME)
        with pytest.raises(InputError, match="the best student of .* cannot be read .*: delete .* to train again"):
            Training(data(), settings, 1, tmp_path).finish()
    assert not (tmp_path / RECORD_NAME).exists()


def test_every_option_of_a_training_is_in_its_signature(data, student, taught, tmp_path):
    images, plain = data(), TrainingSettings(student(), "dlf", {"ce_share": 0.5}, taught)
    module = build_model("mlp-5", images.shape, 3, seed=1)
    other_teacher = AttentionTeacher(taught.teacher.values * 2, torch.ones(2, 6))
    changed = {
        "model": {"student": student(model="mlp-6")},
        "start": {"warm": StudentFile(tmp_path, "mlp-5", module.state_dict())},
        "loss_options": {"loss_options": {"ce_share": 0.25}},
        "learning_rate": {"student": student(learning_rate=0.1)},
        "momentum": {"student": student(momentum=0.1)},
        "weight_decay": {"student": student(weight_decay=0.1)},
        "batch_size": {"student": student(batch_size=5)},
        "epochs": {"student": student(epochs=3.0)},
        "milestones": {"student": student(milestones=(0.5,))},
        "progress_points": {"student": student(progress_points=3)},
        "teacher": {"teacher": dataclasses.replace(taught, teacher=other_teacher)},
    }
    one = plain.signature(images, 1)
    for name, changes in changed.items():
        other = dataclasses.replace(plain, **changes).signature(images, 1)
        assert [text.split()[0] for text in one.differences(other)] == [name], name
    assert len(one.differences(plain.signature(images, 2))) == 1
    other = dataclasses.replace(images, fingerprint="1" * 8)
    assert one.differences(plain.signature(other, 1)) == ["fingerprint is 00000000, the other has 11111111"]
    assert Signature.parse(str(one)) == one
