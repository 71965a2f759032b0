"""Scores of tokens: their places."""

import pytest
import torch

from fairseq_dlf.translation.bleu.scoring import TokenScores

PAD = 1


@pytest.fixture
def scores():
    """Three translations of 3, 1 and 2 tokens; the logits of token number i are 10 i, 10 i + 1, ..."""
    targets = torch.tensor([[4, 3, 2], [2, PAD, PAD], [3, 2, PAD]])
    logits = 10.0 * torch.arange(6, dtype=torch.float64).unsqueeze(1) + torch.arange(5)
    return TokenScores(logits, targets, PAD)


def test_values_are_spread_to_their_places(scores):
    assert scores.spread(torch.arange(1, 7)).tolist() == [[1, 2, 3], [4, 0, 0], [5, 6, 0]]
    wide = scores.spread(scores.logits)
    assert wide.shape == (3, 3, 5) and wide[2, 1].tolist() == [50.0, 51.0, 52.0, 53.0, 54.0]
    assert (wide[1, 1:] == 0).all()
    assert scores.token_logits.tolist() == [[4.0, 13.0, 22.0], [32.0, 0.0, 0.0], [43.0, 52.0, 0.0]]


def test_rows_are_chosen_in_order(scores):
    chosen = scores.of_rows(torch.tensor([2, 0, 2]))
    assert chosen.tokens.tolist() == [3, 2, 4, 3, 2, 3, 2]
    assert chosen.logits[:, 0].tolist() == [40.0, 50.0, 0.0, 10.0, 20.0, 40.0, 50.0]
    torch.testing.assert_close(chosen.log_probs, scores.log_probs[[2, 0, 2]])
