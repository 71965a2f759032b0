"""BLEU in s_t: which sentences, of which student, in which order."""

import torch

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.translation.bleu import progress
from fairseq_dlf.translation.bleu.decoding import fixed_sample
from fairseq_dlf.translation.bleu.progress import FEATURES, ProgressValues, StudentProgress
from fairseq_dlf.translation.bleu.scores import CorpusBleu


def test_the_features_have_the_order_of_the_teacher_s_columns():
    assert FEATURES == ProgressValues._fields == ("updates", "train_bleu", "dev_bleu")


def test_train_comes_before_dev_and_both_are_fixed_samples(tiny, monkeypatch):
    made, asked = tiny("lstm"), []
    student = Student(made.model, None)
    train, dev = made.task.pairs(8, seed=1), made.task.pairs(5, seed=2)

    def found(task, model, dataset, indices):
        asked.append((dataset, indices, student.flat_params()))
        return CorpusBleu(12.5 if dataset is train else 50.0, "")

    monkeypatch.setattr(progress, "greedy_bleu", found)
    params = student.flat_params() + 2
    measured = StudentProgress(made.task, train, dev, 3, seed=6).measure(student, params)
    assert measured.dtype == torch.float32 and measured.tolist() == [0.125, 0.5]
    for (dataset, indices, decoded), wanted in zip(asked, (train, dev), strict=True):
        assert dataset is wanted and indices == fixed_sample(wanted, 3, 6)
        assert torch.equal(decoded, params)
