"""Samples: their frequencies and scores, what is never drawn, and what each depends on."""

import pytest
import torch

from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.translation.bleu.decoding import LengthLimit, evaluating, select_rows
from fairseq_dlf.translation.bleu.sampling import InverseSampling, sample_translations
from tests.translation.conftest import TinyTask

NEVER = float("-inf")
DRAWS = 20_000
LIMIT = LengthLimit(0, 7)


def search(uniforms):
    return InverseSampling(TinyTask().target_dictionary, uniforms)


def draw(step, log_p, uniforms, scores=None):
    """One step of rows that are all left."""
    rows = len(log_p)
    scores = torch.zeros(rows, 1, step + 1) if scores is None else scores
    return search(uniforms).step(step, log_p.unsqueeze(1), scores, None, torch.arange(rows))


# Words --------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 3])
def test_words_come_as_often_as_they_are_probable(step):
    torch.manual_seed(2)
    p = torch.tensor([0.0, 0.5, 0.0, 0.02, 0.3, 0.18, 0.0], dtype=torch.float64)
    _, words, _ = draw(step, p.log().expand(DRAWS, 7), torch.rand(DRAWS, 4, dtype=torch.float64))
    counts = torch.bincount(words.squeeze(1), minlength=7)
    assert (counts[p == 0] == 0).all()
    away = (counts - DRAWS * p).abs() / (DRAWS * p * (1 - p)).sqrt().clamp(min=1e-9)
    assert away[p > 0].max() < 4


def test_probabilities_need_not_sum_to_one():
    """The generator takes words away: padding, and the end of short translations."""
    torch.manual_seed(2)
    log_p = torch.tensor([NEVER, -50.0, NEVER, -50.0]).expand(DRAWS, 4)
    _, words, _ = draw(0, log_p, torch.rand(DRAWS, 1, dtype=torch.float64))
    assert set(words.unique().tolist()) == {1, 3}
    assert (words == 1).double().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / DRAWS**0.5)


@pytest.mark.parametrize(("uniform", "word"), [(0.0, 3), (1.0 - 2**-53, 1)])
def test_the_ends_of_the_interval_are_words_with_a_probability(uniform, word):
    log_p = torch.tensor([[0.0, 0.1, 0.0, 0.7, 0.0]], dtype=torch.float64).log()
    assert draw(0, log_p, torch.full((1, 1), uniform, dtype=torch.float64))[1].tolist() == [[word]]


def test_scores_are_summed_log_p_in_the_precision_of_the_model():
    torch.manual_seed(2)
    log_p, uniforms = torch.log_softmax(torch.randn(5, 7), dim=-1), torch.rand(5, 3, dtype=torch.float64)
    scores = torch.randn(5, 1, 3)
    total, words, beams = draw(2, log_p, uniforms, scores)
    of_word = log_p.gather(1, words)
    torch.testing.assert_close(total, of_word + scores[:, :, 1], rtol=0, atol=1e-6)
    assert total.dtype == torch.float32 and beams.tolist() == [[0]] * 5
    first, words, _ = draw(0, log_p, uniforms, scores)
    torch.testing.assert_close(first, log_p.gather(1, words))


def test_the_translations_that_are_left_keep_their_random_numbers():
    log_p, uniforms = torch.full((4, 8), 1 / 8).log(), (torch.arange(12, dtype=torch.float64) / 12).view(4, 3)
    _, everything, _ = draw(1, log_p, uniforms)
    _, left, _ = search(uniforms).step(1, log_p[:2].unsqueeze(1), torch.zeros(2, 1, 2), None, torch.tensor([1, 3]))
    assert left.tolist() == everything[[1, 3]].tolist()


# Translations --------------------------------------------------------------------


@pytest.fixture(params=["lstm", "transformer"])
def made(request, tiny):
    """A model that is far from uniform, and a batch of sources of several lengths."""
    torch.manual_seed(3)
    built = tiny(request.param)
    for parameter in built.model.parameters():
        parameter.data *= 2
    pairs = built.task.pairs(6)
    built.batch = pairs.collater([pairs[i] for i in range(6)])
    return built


def sampled(made, batch=None, number=4, seed=5, shortest=0, limit=LIMIT):
    with evaluating(made.model), torch.no_grad():
        found = sample_translations(made.task, made.model, batch or made.batch, number, shortest, limit, seed)
    return [[tokens.tolist() for tokens in mine] for mine in found]


def test_samples_are_whole_translations(made):
    eos, found = made.task.target_dictionary.eos(), sampled(made)
    assert [len(mine) for mine in found] == [4] * 6
    assert all(tokens[-1] == eos and eos not in tokens[:-1] for mine in found for tokens in mine)
    lengths = {len(tokens) for mine in found for tokens in mine}
    assert max(lengths) == 8 and len(lengths) > 2
    assert min(len(tokens) for mine in sampled(made, shortest=2) for tokens in mine) >= 3


def test_samples_do_not_depend_on_the_batch(made):
    whole = sampled(made)
    for rows in ([0], [1, 4], [2, 3, 5]):
        part = select_rows(made.batch, torch.tensor(rows), left_pad_source=True)
        assert sampled(made, part) == [whole[row] for row in rows]
    assert [mine[:2] for mine in whole] == sampled(made, number=2)


def test_a_bound_on_length_matters_only_where_it_is_reached(made):
    # More than sixteen numbers, from which on torch draws some distributions in another order.
    short, long = (sampled(made, number=20, limit=LengthLimit(0, bound)) for bound in (8, 40))
    pairs = [pair for mine in zip(short, long, strict=True) for pair in zip(*mine, strict=True)]
    within = [one == other for one, other in pairs if len(other) <= 8]
    assert 5 < sum(within) == len(within) < len(pairs)
    assert all(one[:8] == other[:8] for one, other in pairs)


def test_samples_are_those_of_their_seed_and_differ_among_each_other(made):
    assert sampled(made) == sampled(made) != sampled(made, seed=6)
    assert any(len(set(map(tuple, mine))) > 1 for mine in sampled(made))


def test_similar_models_draw_similar_samples(made):
    before = sampled(made)
    for parameter in made.model.parameters():
        parameter.data *= 1 + 1e-9
    assert sampled(made) == before


def test_each_source_is_encoded_once(made, monkeypatch):
    encoder, seen = type(made.model.encoder), []
    plain = encoder.forward

    def spy(self, src_tokens, *more, **named):
        seen.append(len(src_tokens))
        return plain(self, src_tokens, *more, **named)

    monkeypatch.setattr(encoder, "forward", spy)
    sampled(made)
    assert seen == [6]


def test_the_random_numbers_of_the_run_are_left_alone(made):
    torch.manual_seed(9)
    wanted = torch.rand(3)
    torch.manual_seed(9)
    sampled(made)
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_student_that_diverged_is_told(made, broken):
    for parameter in made.model.decoder.parameters():
        parameter.data.fill_(broken)
    with pytest.raises(StateError, match="the student diverged; lower its learning rate"):
        sampled(made)
