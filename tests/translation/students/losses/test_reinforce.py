"""REINFORCE against the sum over every translation of a tiny language: probabilities, and the mean of its gradients."""

from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.translation.bleu.candidates import Proposals, find_candidates
from fairseq_dlf.translation.bleu.scoring import sample_log_probs
from fairseq_dlf.translation.students.losses.scored import score_candidates
from tests.translation.conftest import TinyTask
from tests.translation.students.losses.made_sequences import (
    assert_same_loss_and_gradient,
    batch_of,
    candidates_of,
    criterion_of,
    example_of,
    gradient_of,
    log_probs_alone,
    logits_alone,
)
from tests.translation.tiny_language import LIMIT, LONGEST, directions_of, standard_errors_away, tiny_language

DRAWS = 4000
SAMPLES = 3
SAMPLED = {"sequence_candidates": SAMPLES, "sequence_max_len_a": 0, "sequence_max_len_b": LONGEST}
NAME = "dlf_sequence_reinforce"


@pytest.fixture(scope="module")
def language():
    return tiny_language()


def log_q(scored):
    return scored.candidates.table(sample_log_probs(scored.every, scored.longest)[: scored.number])


@pytest.fixture(scope="module")
def exact(language):
    """log q of every translation, and the gradient of −E_q[BLEU] by autograd through the sum."""
    words = language.task.target_dictionary
    logs = log_q(score_candidates(language.model, language.batch, language.candidates, words, LIMIT))[0]
    gradient = gradient_of(-(logs.exp() * language.bleu).sum(), language.model)
    along = directions_of(gradient)
    return SimpleNamespace(log_q=logs.detach(), gradient=gradient, along=along, slopes=along @ gradient)


def test_log_q_is_the_sum_of_renormalised_tokens_without_a_forced_end(language, exact):
    words, probabilities = language.task.target_dictionary, []
    for tokens in language.every:
        previous = torch.tensor([[words.eos(), *tokens[:-1]]])
        logits = language.model(**{**language.batch["net_input"], "prev_output_tokens": previous})[0][0]
        logits = logits.masked_fill(torch.arange(len(words)) == words.pad(), float("-inf"))
        each = torch.softmax(logits, dim=-1)[range(len(tokens)), tokens]
        probabilities.append(each[:LONGEST].prod().item())
    assert len(language.every) == 1 + 5 + 25 + 125
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-10)
    assert exact.log_q.exp().sum().item() == pytest.approx(1.0, abs=1e-10)
    torch.testing.assert_close(exact.log_q.exp(), torch.tensor(probabilities, dtype=torch.float64), rtol=1e-10, atol=0)


# Draws ------------------------------------------------------------------------


def drawn(language, proposals, draws=DRAWS):
    """Scored samples: each of the draws is one sentence of a batch that repeats the source."""
    batch = batch_of(language, [language.pair] * draws)
    assert proposals.limit == LIMIT
    candidates = find_candidates(language.task, language.model, batch, proposals, seed=41)
    return score_candidates(language.model, batch, candidates, language.task.target_dictionary, proposals.limit)


@pytest.fixture(scope="module")
def samples(language):
    criterion = criterion_of(NAME, language, **SAMPLED)
    return drawn(language, criterion.proposals)


def slopes(losses, model, along):
    """Return the slope of each loss in each direction, (losses, directions)."""
    weights = torch.ones_like(losses, requires_grad=True)
    pulled = gradient_of(losses, model, grad_outputs=weights, create_graph=True)
    return torch.stack([torch.autograd.grad(pulled @ d, weights, retain_graph=True)[0] for d in along], dim=1)


def test_samples_are_drawn_from_q(language, exact, samples):
    """The frequency of each translation, of those that are expected ten times."""
    index = {tuple(tokens): i for i, tokens in enumerate(language.every)}
    padding, counts = language.task.target_dictionary.pad(), torch.zeros(len(language.every), dtype=torch.float64)
    for row in samples.targets.tolist():
        counts[index[tuple(token for token in row if token != padding)]] += 1
    number = DRAWS * SAMPLES
    assert counts.sum() == number
    q = exact.log_q.exp()
    often = q * number > 10
    away = (counts - q * number).abs() / (q * (1 - q) * number).sqrt()
    assert often.sum() > 20
    assert away[often].max() < 4
    shortest, longest = counts[0], counts[-125:].sum()
    assert shortest > 10 and longest > 10


@pytest.mark.parametrize("baseline", ["leave-one-out", "moving", "none"])
def test_the_mean_of_the_gradients_is_the_exact_gradient(language, exact, samples, baseline):
    """Were the seed free, a correct estimator would fail in 2 % of the runs of each baseline (0.27 % a direction)."""
    criterion = criterion_of(NAME, language, **SAMPLED, reinforce_baseline=baseline)
    if baseline == "moving":
        criterion._moving._observe([{"dlf_logs": 1, "sample_bleu": 0.2}])
        assert criterion._moving.value == 0.2
    losses = criterion.sentence_losses(samples)
    assert len(losses) == DRAWS
    away = standard_errors_away(slopes(losses, language.model, exact.along), exact.slopes)
    assert away.max() < 3


def with_own_bleu_in_the_baseline(criterion, scored):
    """A mistake: the mean of all samples as the baseline, which depends on the sample itself."""
    logs, bleu = log_q(scored), scored.candidates.bleu
    return -((bleu - bleu.mean(dim=1, keepdim=True)) * logs).mean(dim=1)


def with_forced_ends(criterion, scored):
    """A mistake: the end of the longest translations counts as drawn."""
    return criterion.sentence_losses(scored._replace(longest=LONGEST + 1))


def with_padding(criterion, scored):
    """A mistake: q as if padding could be drawn."""
    logs, bleu = scored.candidates.table(scored.log_probs.sum(dim=1)), scored.candidates.bleu
    return -((bleu - criterion._baseline(bleu, scored.candidates.present)) * logs).mean(dim=1)


@pytest.mark.parametrize("mistaken", [with_own_bleu_in_the_baseline, with_forced_ends, with_padding])
def test_mistakes_in_the_estimator_would_be_found(language, exact, samples, mistaken):
    criterion = criterion_of(NAME, language, **SAMPLED)
    found = slopes(mistaken(criterion, samples), language.model, exact.along)
    assert standard_errors_away(found, exact.slopes).max() > 4


def test_a_ban_of_the_empty_translation_would_be_found(language, exact):
    criterion = criterion_of(NAME, language, **SAMPLED)
    losses = criterion.sentence_losses(drawn(language, Proposals(SAMPLES, distinct=False, shortest=1, limit=LIMIT)))
    assert standard_errors_away(slopes(losses, language.model, exact.along), exact.slopes).max() > 4


def test_leaving_one_out_lowers_the_variance(language, exact, samples):
    variances = {}
    for baseline in ("leave-one-out", "none"):
        criterion = criterion_of(NAME, language, **SAMPLED, reinforce_baseline=baseline)
        found = slopes(criterion.sentence_losses(samples), language.model, exact.along)
        variances[baseline] = found.var(dim=0).sum().item()
    assert variances["leave-one-out"] < 0.9 * variances["none"]


# Given samples ------------------------------------------------------------------


def log_q_alone(built, batch, row, tokens):
    """log q of a translation that is scored by itself, with its end."""
    logits = logits_alone(built, batch, row, tokens)
    return log_probs_alone(built, batch, row, tokens).sum() - sum(
        torch.log(1 - torch.softmax(each, dim=-1)[built.task.target_dictionary.pad()]) for each in logits
    )


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
@pytest.mark.parametrize("baseline", ["leave-one-out", "none"])
def test_loss_and_gradient_of_given_samples(tiny, monkeypatch, arch, baseline):
    """With duplicates, empty samples and a one-token target; each is scored alone, so that padding has no part."""
    monkeypatch.setattr("fairseq.utils.softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim))
    built = tiny(arch, dropout=0.0)
    batch, eos = example_of(built).batch, built.task.target_dictionary.eos()
    each = [
        [([5, 6], 0.4), ([5, 6], 0.4), ([], 0.0)],
        [([], 0.3), ([7], 0.1), ([], 0.3)],
        [([4, 4, 8, 8, 8], 0.5), ([4], 0.9), ([11], 0.0)],
    ]
    scored = score_candidates(
        built.model, batch, candidates_of(built, batch, each, slots=3), built.task.target_dictionary
    )
    found = criterion_of(NAME, built, sequence_candidates=3, reinforce_baseline=baseline).sentence_losses(scored)
    wanted = []
    for row, mine in enumerate(each):
        terms = []
        for i, (words, bleu) in enumerate(mine):
            others = [b for j, (_, b) in enumerate(mine) if j != i]
            advantage = bleu - (sum(others) / 2 if baseline == "leave-one-out" else 0.0)
            terms.append(-advantage * log_q_alone(built, batch, row, [*words, eos]))
        wanted.append(sum(terms) / 3)
    assert_same_loss_and_gradient(found, torch.stack(wanted), built.model)


# The moving baseline --------------------------------------------------------------


def test_the_moving_baseline_is_subtracted_and_logged(tiny):
    built = tiny("lstm", dropout=0.0)
    example = example_of(built)
    criterion = criterion_of(NAME, built, reinforce_baseline="moving", reinforce_decay=0.5)
    assert criterion(built.model, example.batch)[2]["baseline"] == 0.0
    built.task.reduce_metrics = None  # what follows is told directly
    criterion._moving._observe([{"dlf_logs": 2, "sample_bleu": 0.6}])
    criterion._moving._observe([{"dlf_logs": 1, "sample_bleu": 0.6}])
    assert criterion(built.model, example.batch)[2]["baseline"] == pytest.approx((0.6 + 0.5 * 0.3) / 1.5)
    scored = score_candidates(built.model, example.batch, example.candidates, built.task.target_dictionary)
    plain = criterion_of(NAME, built, reinforce_baseline="none").sentence_losses(scored)
    logs = log_q(scored).sum(dim=1) / scored.candidates.present.sum(dim=1)
    torch.testing.assert_close(criterion.sentence_losses(scored), plain + 0.5 * logs)


def test_other_baselines_are_not_logged(tiny):
    built = tiny("lstm", dropout=0.0)
    _, _, log = criterion_of(NAME, built)(built.model, example_of(built).batch)
    assert "baseline" not in log and 0 <= log["sample_bleu"] <= 1


# Options --------------------------------------------------------------------------


def test_every_sample_counts():
    """Duplicates are kept, and the empty translation may be drawn."""
    built = SimpleNamespace(task=TinyTask(), model=torch.nn.Identity())
    criterion = criterion_of(NAME, built, sequence_candidates=7)
    assert criterion.proposals == Proposals(7, "sample", with_reference=False, distinct=False, shortest=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reinforce_baseline": "mean"}, "no baseline 'mean'; choose from leave-one-out, .*--reinforce-baseline"),
        ({"sequence_candidates": 1}, "candidates is 1, but must be at least 2 .*--sequence-candidates"),
        ({"sequence_candidates": 0, "reinforce_baseline": "none"}, "candidates is 0, but must be at least 1"),
        ({"reinforce_decay": 1.0, "reinforce_baseline": "moving"}, "must lie in .*--reinforce-decay"),
        ({"reinforce_decay": 0.5}, "--reinforce-decay 0.5 would be ignored, .* pass --reinforce-baseline moving"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        criterion_of(NAME, SimpleNamespace(task=TinyTask(), model=torch.nn.Identity()), **options)


def test_one_sample_suffices_without_the_others(tiny):
    built = tiny("lstm", dropout=0.0)
    criterion = criterion_of(NAME, built, sequence_candidates=1, reinforce_baseline="none")
    loss, _, _ = criterion(built.model, example_of(built).batch)
    assert loss.isfinite()
