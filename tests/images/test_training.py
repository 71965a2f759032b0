"""Training: resuming bit for bit, the best by dev, test read once, rates tried."""

import dataclasses

import pytest
import torch

from fairseq_dlf.core.teaching.teachers.attention import Teacher
from fairseq_dlf.images import training
from fairseq_dlf.images.records.training import RECORD_NAME
from fairseq_dlf.images.students.files import read_student
from fairseq_dlf.images.students.models import build_model
from fairseq_dlf.images.teachers.files import TeacherFile, TeacherHeader
from fairseq_dlf.images.training import BEST_NAME, Training, TrainingSettings, train_seeds


@pytest.fixture
def taught():
    torch.manual_seed(5)
    values = torch.eye(3).flatten().unsqueeze(1) + 0.1 * torch.randn(9, 2)
    features = ("updates", "train_accuracy", "dev_accuracy", "precision_0", "precision_1", "precision_2")
    header = TeacherHeader(("a", "b", "c"), features, "mnist", "mlp", 0.0, "taught|step:4")
    return TeacherFile(Teacher(values, torch.randn(2, 6)).requires_grad_(False), header)


def settings_of(loss, student, taught):
    return TrainingSettings(student, loss, teacher=taught if loss == "dlf" else None)


@pytest.mark.parametrize("loss", ["cross_entropy", "smooth", "large_margin", "constant", "dlf"])
def test_every_loss_learns(data, student, taught, tmp_path, loss):
    rate = {"smooth": 0.002, "large_margin": 0.05}.get(loss, 0.2)
    settings = settings_of(loss, student(epochs=8.0, learning_rate=rate), taught)
    (record,) = train_seeds(data(), settings, [rate], [1], tmp_path)
    assert record.test_error <= 15.0 and record.dev_error <= 15.0
    assert record.curve[-1].train_accuracy >= max(0.9, record.curve[0].train_accuracy)
    assert record.loss == loss and record.taught_on == ("mlp" if loss == "dlf" else None)


@pytest.mark.parametrize(("loss", "model"), [("dlf", "mlp-5"), ("cross_entropy", "resnet-8")])
def test_a_resumed_run_is_the_straight_run(data, student, taught, tmp_path, loss, model):
    images = data((1, 6, 6), augments=True)
    settings = settings_of(loss, student(model=model, epochs=3.0, momentum=0.9, learning_rate=0.05), taught)
    straight = Training(images, settings, 1, tmp_path / "straight").finish()
    broken = Training(images, settings, 1, tmp_path / "broken")
    broken._epoch()
    record = Training(images, settings, 1, tmp_path / "broken").finish()
    assert dataclasses.replace(record, elapsed_s=0.0) == dataclasses.replace(straight, elapsed_s=0.0)
    tensors = [read_student(tmp_path / name / BEST_NAME).tensors for name in ("straight", "broken")]
    for name, tensor in tensors[0].items():
        assert torch.equal(tensor, tensors[1][name]), name


def test_plain_cross_entropy_is_what_torch_does(data, student, tmp_path):
    """The same updates by torch's own modules and optimiser, batch normalisation's figures included."""
    images, settings = data((1, 8, 8)), student(model="resnet-8", learning_rate=0.05, weight_decay=1e-3)
    made = Training(images, TrainingSettings(settings, "cross_entropy"), 1, tmp_path)
    module = build_model("resnet-8", (1, 8, 8), 3, seed=0)
    module.load_state_dict(made.run_of.student.module.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    for t in range(12):
        batch = made.run_of.batches.batch(t)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(batch.images).logits, batch.labels).backward()
        optimizer.step()
    made.run()
    torch.testing.assert_close(made.state.params, _flat(module), rtol=1e-3, atol=1e-5)
    for name, buffer in module.named_buffers():
        torch.testing.assert_close(made.buffers[name], buffer, rtol=1e-3, atol=1e-5)


def _flat(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_the_best_by_dev_is_tested_and_test_is_read_once(data, student, tmp_path, monkeypatch):
    images, read = data(), []
    plain = training.predictions

    def watched(student, params, buffers, pixels):
        read.append(pixels is images.test.images)
        return plain(student, params, buffers, pixels)

    monkeypatch.setattr(training, "predictions", watched)
    values = iter([0.2, 0.2, 0.2, 0.9, 0.2, 0.9, 0.2, 0.5])  # train and dev of four epochs
    monkeypatch.setattr(training, "accuracy", lambda *given: next(values))
    made = Training(images, TrainingSettings(student(epochs=4.0), "cross_entropy"), 1, tmp_path)
    states = []
    plain_epoch = made._epoch

    def epoch():
        plain_epoch()
        states.append(made.state.params.clone())

    monkeypatch.setattr(made, "_epoch", epoch)
    record = made.finish()
    assert read == [True]
    assert record.best_epoch == 2 and record.dev_error == pytest.approx(10.0)
    student_file = read_student(tmp_path / BEST_NAME)
    module = made.run_of.student.module
    student_file.load_into(module)
    assert torch.equal(made.run_of.student.flat_params(), states[1])
    wrong = (module.eval()(images.test.images).logits.argmax(-1) != images.test.labels).nonzero().flatten()
    assert record.test_wrong == tuple(wrong.tolist())
    assert record.test_error == pytest.approx(100 * len(wrong) / 20)
    assert made.finish() == record and read == [True]


def test_of_several_rates_the_best_by_dev_is_taken_for_all_seeds(data, student, tmp_path, monkeypatch):
    images, seen = data(), []
    plain = training.predictions
    monkeypatch.setattr(training, "predictions", lambda *given: seen.append(1) or plain(*given))
    settings = TrainingSettings(student(epochs=4.0), "cross_entropy")
    records = train_seeds(images, settings, [1e-6, 0.1, 1e-5], [1, 2], tmp_path)
    assert [(record.seed, record.learning_rate) for record in records] == [(1, 0.1), (2, 0.1)]
    assert len(seen) == 2
    assert sorted(path.parent.name for path in tmp_path.glob("*/record.json")) == ["seed1", "seed2"]
    alone = Training(
        images, settings_of("cross_entropy", student(epochs=4.0, learning_rate=0.1), None), 1, tmp_path / "a"
    )
    assert alone.finish().curve == records[0].curve


def test_a_rate_that_diverges_is_not_taken(data, student, tmp_path, caplog):
    settings = TrainingSettings(student(), "cross_entropy")
    (record,) = train_seeds(data(), settings, [0.1, 1e25], [1], tmp_path)
    assert record.learning_rate == 0.1
    assert "is not finite after 6 updates: lower the learning rate" in caplog.text
    again = train_seeds(data(), settings, [0.1, 1e25], [1], tmp_path)
    assert again == [record]


def test_a_rate_at_the_edge_is_reported(data, student, tmp_path, caplog):
    settings = TrainingSettings(student(), "cross_entropy")
    train_seeds(data(), settings, [1e-6, 1e-5, 0.1], [1], tmp_path)
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
