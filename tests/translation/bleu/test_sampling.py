"""Samples by inversion: their frequencies, their scores, and what is never drawn."""

import pytest
import torch

from fairseq_dlf.translation.bleu.decoding import build_generator
from fairseq_dlf.translation.bleu.sampling import InverseSampling

NEVER = float("-inf")
DRAWS = 20_000


@pytest.fixture
def search(tiny):
    return InverseSampling(tiny("lstm").task.target_dictionary)


def logs(*probabilities):
    return torch.tensor(probabilities, dtype=torch.float64).log()


@pytest.mark.parametrize("step", [0, 3])
def test_words_come_as_often_as_they_are_probable(search, step):
    torch.manual_seed(2)
    p = torch.tensor([0.0, 0.5, 0.0, 0.02, 0.3, 0.18, 0.0], dtype=torch.float64)
    _, words, _ = search.step(step, p.log().expand(2, DRAWS, 7), torch.zeros(2, DRAWS, 5))
    for row in words:
        counts = torch.bincount(row, minlength=7)
        assert (counts[p == 0] == 0).all()
        away = (counts - DRAWS * p).abs() / (DRAWS * p * (1 - p)).sqrt().clamp(min=1e-9)
        assert away[p > 0].max() < 4


def test_probabilities_need_not_sum_to_one(search):
    """The generator takes words away: padding, and the end of short translations."""
    torch.manual_seed(2)
    log_p = torch.tensor([NEVER, -50.0, NEVER, -50.0]).expand(1, DRAWS, 4)
    _, words, _ = search.step(1, log_p, torch.zeros(1, DRAWS, 1))
    assert set(words.unique().tolist()) == {1, 3}
    assert (words == 1).double().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / DRAWS**0.5)


@pytest.mark.parametrize(("uniform", "word"), [(0.0, 3), (1.0 - 2**-53, 1)])
def test_the_ends_of_the_interval_are_words_with_a_probability(search, monkeypatch, uniform, word):
    monkeypatch.setattr(torch, "rand", lambda *shape, **how: torch.full(shape, uniform, dtype=torch.float64))
    log_p = logs(0.0, 0.1, 0.0, 0.7, 0.0).expand(1, 2, 5)
    assert search.step(0, log_p, torch.zeros(1, 2, 1))[1].tolist() == [[word, word]]


def test_scores_are_summed_log_p_in_the_precision_of_the_model(search):
    torch.manual_seed(2)
    log_p = torch.log_softmax(torch.randn(3, 4, 7), dim=-1)
    scores = torch.randn(3, 4, 5)
    found, words, beams = search.step(2, log_p, scores)
    wanted = [[log_p[i, j, words[i, j]] + scores[i, j, 1] for j in range(4)] for i in range(3)]
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=0, atol=1e-6)
    assert found.dtype == torch.float32 and beams.tolist() == [[0, 1, 2, 3]] * 3
    first, words, _ = search.step(0, log_p, scores)
    torch.testing.assert_close(first, log_p.gather(-1, words.unsqueeze(-1)).squeeze(-1))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_student_that_diverged_is_told(tiny, broken):
    built = tiny("lstm")
    next(built.model.decoder.parameters()).data.fill_(broken)
    generator = build_generator(built.task, built.model, beam=2, sampling=True)
    pairs = built.task.pairs(3)
    batch = pairs.collater([pairs[i] for i in range(3)])
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"the student diverged; lower its learning rate"):
        generator.generate([built.model.eval()], batch)
