"""What the sequence losses share: the combination with cross-entropy, sample sizes, seeds, validation, options."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.logging import metrics

from fairseq_dlf.translation.bleu.decoding import select_rows
from fairseq_dlf.translation.students.losses import sequence
from fairseq_dlf.translation.students.losses.scored import score_candidates
from tests.translation.conftest import TinyTask
from tests.translation.students.losses.made_sequences import (
    LOSSES,
    criterion_of,
    example_of,
    gradient_of,
    with_references,
)

# Losses of beams, which are the same in every batch.
OF_BEAMS = {
    "dlf_sequence_risk": {"sequence_method": "beam"},
    "dlf_softmax_margin": {"sequence_method": "beam", "margin_target": "reference"},
}


@pytest.fixture
def made(tiny, monkeypatch):
    """A student without dropout, and candidates of the first three sentences that are given in place of its own."""
    built = tiny("lstm", dropout=0.0)
    built.example = with_references(built, example_of(built))
    built.seeds = []

    def given(task, model, batch, proposals, seed):
        built.seeds.append(seed)
        return built.example.candidates

    built.give = lambda: monkeypatch.setattr(sequence, "find_candidates", given)
    return built


def fairseqs(built, smoothing):
    """fairseq's own criterion."""
    if smoothing:
        return LabelSmoothedCrossEntropyCriterion(built.task, False, smoothing)
    return CrossEntropyCriterion(built.task, False)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", LOSSES)
def test_a_full_share_is_fairseqs_criterion_with_its_gradient(made, name, smoothing):
    made.model.float()
    ours = criterion_of(name, made, ce_share=1.0, label_smoothing=smoothing)
    found, size, _ = ours(made.model, made.example.batch)
    wanted, wanted_size, _ = fairseqs(made, smoothing)(made.model, made.example.batch)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert size == wanted_size
    torch.testing.assert_close(gradient_of(found, made.model), gradient_of(wanted, made.model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sentence_avg", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", LOSSES)
def test_shares_are_a_mean_over_sentences_and_a_mean_over_tokens(made, name, smoothing, sentence_avg):
    made.give()
    batch, options = made.example.batch, {"label_smoothing": smoothing, "sentence_avg": sentence_avg}
    criterion = criterion_of(name, made, ce_share=0.3, **options)
    loss, size, log = criterion(made.model, batch)
    assert size == (3 if sentence_avg else 4 + 1 + 2)
    tokens, _, plain = criterion_of(name, made, ce_share=1.0, **options)(made.model, batch)
    scored = score_candidates(made.model, batch, made.example.candidates, made.task.target_dictionary)
    sentences = criterion.sentence_losses(scored)
    wanted = 0.7 * sentences.sum() / 3 + 0.3 * tokens / size
    assert (loss / size).item() == pytest.approx(wanted.item(), rel=1e-12)
    found, wanted = gradient_of(loss / size, made.model), gradient_of(wanted, made.model)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert log["nll_loss"].item() == pytest.approx(plain["nll_loss"].item(), rel=1e-12)
    assert log["sequence_loss"] == pytest.approx(sentences.mean().item(), rel=1e-12)
    assert log["sample_bleu"] == pytest.approx((0.0 + 0.4 + 1.0 + 0.1 + 0.0 + 0.2 + 0.5 + 0.9) / 8)


@pytest.mark.parametrize("name", LOSSES)
def test_without_a_share_cross_entropy_is_only_logged(made, name):
    made.give()
    criterion = criterion_of(name, made)
    loss, size, log = criterion(made.model, made.example.batch)
    wanted, _, plain = criterion_of(name, made, ce_share=1.0)(made.model, made.example.batch)
    assert loss.item() == pytest.approx(size * log["sequence_loss"], rel=1e-12)
    assert log["nll_loss"].item() == pytest.approx(wanted.item(), rel=1e-12)
    assert not log["nll_loss"].requires_grad


# Parts of a batch -----------------------------------------------------------------


def parts_of(batch):
    """The first sentence, and the others."""
    for rows in ([0], [1, 2]):
        part = select_rows(batch, torch.tensor(rows), left_pad_source=True)
        yield {**part, "ntokens": int((part["target"] != 1).sum())}


@pytest.mark.parametrize("sentence_avg", [True, False])
@pytest.mark.parametrize("name", OF_BEAMS)
def test_accumulated_batches(made, name, sentence_avg):
    """By sentences, parts add up to the whole; by tokens, means over the sentences of a part count by its tokens."""
    # Otherwise the longest translation would depend on the longest source of a part.
    options = {**OF_BEAMS[name], "sequence_max_len_a": 0}
    criterion = criterion_of(name, made, ce_share=0.4, sentence_avg=sentence_avg, **options)
    whole, size, log = criterion(made.model, made.example.batch)
    found = [criterion(made.model, part) for part in parts_of(made.example.batch)]
    assert sum(part[1] for part in found) == size
    total = sum(part[0] for part in found)
    if sentence_avg:
        assert total.item() == pytest.approx(whole.item(), rel=1e-10)
        ours, theirs = gradient_of(total, made.model), gradient_of(whole, made.model)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    else:
        weighted = sum(part[1] * part[2]["sequence_loss"] for part in found) / size
        assert abs(weighted - log["sequence_loss"]) > 1e-4
        difference = 0.6 * size * (weighted - log["sequence_loss"])
        assert total.item() - whole.item() == pytest.approx(difference, rel=1e-8)


def test_wrappers_for_several_workers_are_called_once_as_a_whole(made):
    class Wrapper(torch.nn.Module):
        calls = 0

        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, **inputs):
            Wrapper.calls += 1
            return self.module(**inputs)

    criterion = criterion_of("dlf_sequence_risk", made, **OF_BEAMS["dlf_sequence_risk"])
    wanted, _, _ = criterion(made.model, made.example.batch)
    found, _, _ = criterion(Wrapper(made.model), made.example.batch)
    assert found.item() == wanted.item()
    assert Wrapper.calls == 1


# Candidates -------------------------------------------------------------------------


def test_seeds_differ_by_run_update_and_sentences(made):
    made.give()
    batch = made.example.batch
    other = {**batch, "id": batch["id"] + 1}
    for seed, update, sample in [(1, 0, batch), (1, 0, other), (1, 1, batch), (2, 0, batch), (1, 0, batch)]:
        criterion = criterion_of("dlf_sequence_risk", made, seed=seed)
        made.task.train_step(sample, made.model, criterion, SimpleNamespace(backward=lambda loss: None), update)
    assert len(set(made.seeds)) == 4
    assert made.seeds[0] == made.seeds[-1]


def test_candidates_have_no_dropout_and_scores_have(tiny, monkeypatch):
    built = tiny("lstm", dropout=0.5)
    batch, seen = example_of(built).batch, []

    def spy(model, sample, candidates, words, limit):
        assert model.training
        seen.append(candidates)
        return score_candidates(model, sample, candidates, words, limit)

    monkeypatch.setattr(sequence, "score_candidates", spy)
    criterion = criterion_of("dlf_sequence_risk", built)
    losses = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        losses.add(criterion(built.model, batch)[0].item())
    assert torch.equal(seen[0].targets, seen[1].targets)
    assert len(losses) == 2


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_students_get_a_float32_loss(made, name):
    made.model.bfloat16()
    loss, _, log = criterion_of(name, made, ce_share=0.5)(made.model, made.example.batch)
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad.dtype == torch.bfloat16 for p in made.model.parameters() if p.grad is not None)
    assert log["nll_loss"].item() > 0


# Validation, log, options -------------------------------------------------------------


@pytest.mark.parametrize("training", [(False, False), (True, False)])
@pytest.mark.parametrize("name", LOSSES)
def test_validation_is_plain_cross_entropy(made, name, training):
    criterion = criterion_of(name, made, ce_share=0.5, label_smoothing=0.1).train(training[0])
    made.model.train(training[1])
    loss, _, log = criterion(made.model, made.example.batch)
    wanted, _, _ = CrossEntropyCriterion(made.task, False).eval()(made.model, made.example.batch)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert "sequence_loss" not in log


@pytest.mark.parametrize("name", LOSSES)
def test_figures_are_logged(made, name):
    metrics.reset()
    made.give()
    criterion = criterion_of(name, made)
    _, _, log = criterion(made.model, made.example.batch)
    with metrics.aggregate() as found:
        criterion.reduce_metrics([log, log])
    values = found.get_smoothed_values()
    assert values["sample_bleu"] == pytest.approx(log["sample_bleu"], abs=1e-4)
    assert values["sequence_loss"] == pytest.approx(log["sequence_loss"], abs=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_criterions_hold_no_parameters(made, name):
    criterion = criterion_of(name, made)
    assert not list(criterion.parameters())
    assert not criterion.state_dict()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ce_share": -0.1}, "ce_share is -0.1, but must lie between 0 and 1 .*--ce-share"),
        ({"ce_share": 1.1}, "ce_share is 1.1"),
        ({"label_smoothing": 1.0, "ce_share": 0.5}, "label_smoothing is 1.0.*--label-smoothing"),
        ({"sequence_max_len_a": -1.0}, "sequence_max_len_a is -1.0, but must not be negative .*--sequence-max-len-a"),
        ({"sequence_max_len_b": 0.0}, "sequence_max_len_b is 0.0, but must be at least 1 .*--sequence-max-len-b"),
        ({"label_smoothing": 0.1}, "--label-smoothing 0.1 would be ignored, .*--ce-share is 0"),
    ],
)
@pytest.mark.parametrize("name", LOSSES)
def test_options_are_checked(name, options, words):
    with pytest.raises(ValueError, match=words):
        criterion_of(name, SimpleNamespace(task=TinyTask(), model=torch.nn.Identity()), **options)
