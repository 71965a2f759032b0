"""One forward pass over candidates and references: equal to scoring each alone, each source encoded once."""

import pytest
import torch

from fairseq_dlf.translation.students.losses.scored import score_candidates
from tests.translation.students.losses.made_sequences import (
    candidates_of,
    example_of,
    log_probs_alone,
    logits_alone,
    logits_of_tokens_alone,
)


@pytest.fixture(params=["lstm", "transformer"])
def made(request, tiny, monkeypatch):
    # fairseq's attention computes its softmax in float32.
    monkeypatch.setattr("fairseq.utils.softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim))
    built = tiny(request.param, dropout=0.0)
    built.example = example_of(built)
    return built


def scored_of(made):
    return score_candidates(made.model, made.example.batch, made.example.candidates, made.task.target_dictionary)


def test_rows_equal_what_is_scored_alone(made):
    scored, example = scored_of(made), made.example
    flat = [(row, tokens) for row, mine in enumerate(example.each) for tokens, _ in mine]
    assert scored.lengths.tolist() == [len(tokens) for _, tokens in flat]
    for i, (row, tokens) in enumerate(flat):
        for found, alone in ((scored.log_probs, log_probs_alone), (scored.token_logits, logits_of_tokens_alone)):
            wanted = alone(made, example.batch, row, tokens)
            torch.testing.assert_close(found[i, : len(tokens)], wanted, rtol=0, atol=1e-12)
            assert (found[i, len(tokens) :] == 0).all()


def test_references_equal_what_is_scored_alone(made):
    scored, example = scored_of(made), made.example
    assert scored.reference_slots.tolist() == example.slots
    for row, tokens in enumerate(example.references):
        found = scored.references.of_rows(torch.tensor([row]))
        assert found.tokens.tolist() == tokens
        wanted = logits_alone(made, example.batch, row, tokens)
        torch.testing.assert_close(found.logits, wanted, rtol=0, atol=1e-12)


def test_sources_are_encoded_once_and_references_that_are_candidates_decoded_once(made):
    rows = {}
    for part in ("encoder", "decoder"):
        module = getattr(made.model, part)
        module.register_forward_pre_hook(lambda module, inputs, part=part: rows.update({part: len(inputs[0])}))
    scored_of(made)
    assert rows == {"encoder": 3, "decoder": 7 + 1}


def test_duplicates_of_the_reference_are_found_in_their_first_slot(made):
    each = [[([5], 0.1), ([5, 6, 7], 1.0), ([5, 6, 7], 1.0)], [([], 0.0)], [([4], 1.0), ([4], 1.0)]]
    made.example.candidates = candidates_of(made, made.example.batch, each, slots=3)
    assert scored_of(made).reference_slots.tolist() == [1, 0, 0]


def test_means_are_over_tokens(made):
    scored = scored_of(made)
    table = scored.means(scored.log_probs)
    wanted = log_probs_alone(made, made.example.batch, 0, made.example.each[0][3][0]).mean()
    torch.testing.assert_close(table[0, 3], wanted, rtol=0, atol=1e-12)
    assert table.shape == (3, 5)
    assert (table[~scored.candidates.present] == 0).all()


def test_half_precision_is_scored_in_float32(made):
    made.model.bfloat16()
    scored = scored_of(made)
    assert scored.every.logits.dtype == torch.bfloat16
    assert scored.log_probs.dtype == scored.token_logits.dtype == torch.float32
