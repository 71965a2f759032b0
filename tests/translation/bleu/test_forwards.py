"""Several translations of a source in one forward pass: without padding, equal to a pass over each alone."""

import itertools

import pytest
import torch

from fairseq_dlf.translation.bleu import forwards
from fairseq_dlf.translation.bleu.forwards import similar_lengths
from fairseq_dlf.translation.bleu.scoring import score_tokens
from tests.translation.students.losses.made_sequences import example_of


@pytest.fixture(params=["lstm", "transformer"])
def made(request, tiny):
    built = tiny(request.param, dropout=0.0)
    built.candidates = example_of(built).candidates
    return built


def scored(built):
    candidates, padding = built.candidates, built.task.target_dictionary.pad()
    rows = candidates.owners[0], candidates.targets
    return score_tokens(built.model, built.model, candidates.batch, *rows, padding)


def in_groups(monkeypatch, step_cost):
    monkeypatch.setattr(forwards, "STEP_COST_ROWS", step_cost)


def one_by_one(built):
    """Return the logits of all tokens, (tokens, types), from a forward pass over each translation."""
    batch, found = built.candidates.batch, []
    for row, owner in enumerate(built.candidates.owners[0].tolist()):
        length = int((built.candidates.targets[row] != built.task.target_dictionary.pad()).sum())
        previous = batch["prev_output_tokens"][row, :length].expand(len(batch["src_tokens"]), -1)
        found.append(built.model(**{**batch, "prev_output_tokens": previous})[0][owner])
    return torch.cat(found)


@pytest.mark.parametrize("step_cost", [0, 2, 10**6])
def test_translations_of_any_grouping_are_scored_as_each_alone(made, monkeypatch, step_cost):
    in_groups(monkeypatch, step_cost)
    sizes = []
    decode = made.model.decoder.forward
    monkeypatch.setattr(
        made.model.decoder, "forward", lambda rows, **named: sizes.append(tuple(rows.shape)) or decode(rows, **named)
    )
    found = scored(made)
    lengths = found.real.sum(dim=1)
    assert len(lengths.unique()) > 2
    assert len(sizes) == (1 if step_cost == 10**6 else len(lengths.unique()) if step_cost == 0 else len(sizes))
    assert sum(rows for rows, _ in sizes) == len(lengths) and max(width for _, width in sizes) == int(lengths.max())
    monkeypatch.undo()
    torch.testing.assert_close(found.logits, one_by_one(made), rtol=0, atol=1e-12)


def test_gradients_are_those_of_each_alone(made, monkeypatch):
    in_groups(monkeypatch, 0)
    params = [p for p in made.model.parameters() if p.requires_grad]
    torch.manual_seed(3)
    weights = None
    gradients = []
    for logits in (scored(made).logits, one_by_one(made)):
        weights = torch.randn_like(logits) if weights is None else weights
        gradients.append(torch.autograd.grad((logits.log_softmax(-1) * weights).sum(), params))
    for ours, alone in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, alone, rtol=0, atol=1e-10)


def test_only_tokens_are_projected_and_all_at_once(made, monkeypatch):
    in_groups(monkeypatch, 0)
    decoder, seen = type(made.model.decoder), []
    plain = decoder.output_layer
    monkeypatch.setattr(decoder, "output_layer", lambda self, x: seen.append(tuple(x.shape)) or plain(self, x))
    found = scored(made)
    ((tokens, _),) = seen
    assert tokens == len(found.logits) == int(found.real.sum()) < found.targets.numel()


def test_a_decoder_that_projects_in_its_own_way_is_scored_alike(made, monkeypatch):
    wanted = scored(made)
    decoder = made.model.decoder
    project = type(decoder).output_layer

    def forward(rows, encoder_out, **rest):
        features, extra = decoder.extract_features(rows, encoder_out=encoder_out)
        return project(decoder, features), extra

    monkeypatch.setattr(decoder, "forward", forward)
    torch.testing.assert_close(scored(made).logits, wanted.logits, rtol=0, atol=1e-12)


def test_an_error_on_the_way_leaves_the_model_as_it_was(made):
    batch = {**made.candidates.batch, "prev_output_tokens": made.candidates.batch["prev_output_tokens"][:3]}
    before = made.model(**batch)[0]
    fitting = made.candidates
    made.candidates = fitting._replace(batch={**fitting.batch, "prev_output_tokens": batch["prev_output_tokens"]})
    with pytest.raises(IndexError):
        scored(made)
    torch.testing.assert_close(made.model(**batch)[0], before, rtol=0, atol=0)


@pytest.mark.parametrize("step_cost", [0, 1, 3, 20])
@pytest.mark.parametrize("lengths", [[4], [2, 2, 2], [7, 1, 3, 3, 9, 2, 1], [5, 1, 1, 1, 1, 8, 8, 3]])
def test_groups_cost_least_of_all_groupings_by_length(lengths, step_cost):
    rows = torch.tensor(lengths)
    found = similar_lengths(rows, step_cost)
    assert sorted(torch.cat(found).tolist()) == list(range(len(lengths)))
    widths = sorted(set(lengths))
    assert cost(lengths, [group.tolist() for group in found], step_cost) == min(
        cost(lengths, groups, step_cost) for groups in groupings(lengths, widths)
    )


def cost(lengths, groups, step_cost):
    return sum(max(lengths[row] for row in group) * (len(group) + step_cost) for group in groups)


def groupings(lengths, widths):
    """Yield the groupings of rows by intervals of their lengths."""
    for cuts in itertools.product([False, True], repeat=len(widths) - 1):
        bounds = [width for width, cut in zip(widths, cuts, strict=False) if cut] + [widths[-1]]
        below = 0
        groups = []
        for bound in bounds:
            groups.append([row for row, length in enumerate(lengths) if below < length <= bound])
            below = bound
        yield groups
