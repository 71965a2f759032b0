"""Scores of tokens: their places, and decoders that project in their own way."""

from contextlib import nullcontext

import pytest
import torch

from fairseq_dlf.translation.bleu import scoring
from fairseq_dlf.translation.bleu.scoring import TokenScores, score_tokens
from tests.translation.students.losses.made_sequences import example_of

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


@pytest.fixture(params=["lstm", "transformer"])
def made(request, tiny):
    built = tiny(request.param, dropout=0.0)
    built.candidates = example_of(built).candidates
    return built


def scored(built):
    candidates, padding = built.candidates, built.task.target_dictionary.pad()
    rows = candidates.owners[0], candidates.targets
    return score_tokens(built.model, built.model, candidates.batch, *rows, padding)


def test_only_tokens_are_projected(made, monkeypatch):
    decoder, seen = type(made.model.decoder), []
    plain = decoder.output_layer
    monkeypatch.setattr(decoder, "output_layer", lambda self, x: seen.append(tuple(x.shape)) or plain(self, x))
    found = scored(made)
    ((tokens, _),) = seen
    assert tokens == len(found.logits) == int(found.real.sum()) < found.targets.numel()


def test_an_error_on_the_way_leaves_the_model_as_it_was(made):
    batch = {**made.candidates.batch, "prev_output_tokens": made.candidates.batch["prev_output_tokens"][:3]}
    before = made.model(**batch)[0]
    made.candidates = made.candidates._replace(targets=made.candidates.targets[:, :1])  # narrower than what is decoded
    with pytest.raises(IndexError):
        scored(made)
    torch.testing.assert_close(made.model(**batch)[0], before, rtol=0, atol=0)


def test_a_decoder_that_projects_in_its_own_way_is_scored_alike(made, monkeypatch):
    wanted = scored(made)
    monkeypatch.setattr(scoring, "projecting_only", lambda model, where: nullcontext())
    torch.testing.assert_close(scored(made).logits, wanted.logits, rtol=0, atol=1e-12)
