"""The criterion as fairseq calls it: values, gradients, phases, batches of an update, options."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.bleu.candidates import Proposals, collate
from fairseq_dlf.translation.bleu.decoding import WordJoiner
from fairseq_dlf.translation.bleu.rewards import token_rewards
from fairseq_dlf.translation.bleu.scores import sentence_bleu
from fairseq_dlf.translation.students.losses import sequence
from fairseq_dlf.translation.students.losses.actor_critic import ActorCriticConfig, ActorCriticCriterion

PAD = 1
FEW = {"critic_width": 4, "critic_pretraining": 0, "critic_target_rate": 0.5, "sentence_avg": False, "seed": 3}


@pytest.fixture
def made(tiny):
    """A tiny LSTM without dropout, its task, and a batch with padding and a target of one word."""
    built = tiny("lstm", dropout=0.0)
    pairs = built.task.pairs(8, seed=2)
    built.batch = pairs.collater([pairs[i] for i in range(4)])
    assert (built.batch["target"] == PAD).any()
    return built


def criterion_of(made, **options):
    criterion = ActorCriticCriterion(ActorCriticConfig(**{**FEW, **options}), made.task)
    made.model.train()
    return criterion.train()


def gradients_of(made, criterion, batch=None):
    """Sample size, log and gradient of one training step, without the optimiser's."""
    made.model.zero_grad()
    optimizer = SimpleNamespace(backward=lambda loss: loss.backward())
    _, sample_size, log = made.task.train_step(batch or made.batch, made.model, criterion, optimizer, update_num=0)
    return sample_size, log, {name: p.grad.clone() for name, p in made.model.named_parameters()}


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_a_full_share_is_fairseqs_cross_entropy(made, tiny, arch):
    made.model = made.model if arch == "lstm" else tiny(arch, dropout=0.0).model
    found = gradients_of(made, criterion_of(made, ce_share=1.0))
    made.model.zero_grad()
    loss, sample_size, _ = CrossEntropyCriterion(made.task, False)(made.model, made.batch)
    loss.backward()
    assert found[0] == sample_size
    assert found[1]["loss"].item() == pytest.approx(loss.item(), rel=1e-6)
    assert found[1]["nll_loss"].item() == pytest.approx(loss.item(), rel=1e-6)
    for name, parameter in made.model.named_parameters():
        torch.testing.assert_close(found[2][name], parameter.grad, rtol=1e-5, atol=1e-7)


# Phases and updates -------------------------------------------------------------


def sgd(made):
    """A stand-in for fairseq's wrapper of plain SGD."""
    inner = torch.optim.SGD(made.model.parameters(), lr=0.5)
    return SimpleNamespace(backward=lambda loss: loss.backward(), step=inner.step, zero_grad=inner.zero_grad)


def updates_of(made, criterion, number, batches=None, first=0):
    """Take updates as fairseq's trainer takes them, each over all batches; return the last log."""
    optimizer, log = sgd(made), {}
    for update in range(first, first + number):
        optimizer.zero_grad()
        for batch in batches or [made.batch]:
            _, _, log = made.task.train_step(batch, made.model, criterion, optimizer, update)
        made.task.optimizer_step(optimizer, model=made.model, update_num=update)
    return log


def copies(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_critic_learns_alone_at_first(made):
    criterion = criterion_of(made, critic_pretraining=3, ce_share=0.5)
    student = copies(made.model)
    log = updates_of(made, criterion, 3)
    assert equal(copies(made.model), student)
    assert log["loss"] == 0.0 and log["nll_loss"] > 0
    critic = copies(criterion.learning.critic)
    updates_of(made, criterion, 1, first=3)
    assert not equal(copies(made.model), student)
    assert not equal(copies(criterion.learning.critic), critic)


def test_the_critic_learns_alone_in_a_run_that_does_not_begin_at_0(made):
    student = copies(made.model)
    criterion = criterion_of(made, critic_pretraining=1)
    updates_of(made, criterion, 1, first=500)
    assert equal(copies(made.model), student)


def test_the_target_network_follows_at_its_rate(made):
    criterion = criterion_of(made, critic_target_rate=0.25)
    updates_of(made, criterion, 1)
    before = copies(criterion.learning.target)
    updates_of(made, criterion, 1, first=1)
    after, critic = copies(criterion.learning.target), copies(criterion.learning.critic)
    assert not equal(before, after)
    for name in after:
        torch.testing.assert_close(after[name], 0.75 * before[name] + 0.25 * critic[name], rtol=0, atol=1e-15)


def test_with_a_rate_of_1_the_target_network_is_the_critic(made):
    criterion = criterion_of(made, critic_target_rate=1.0)
    updates_of(made, criterion, 2)
    assert equal(copies(criterion.learning.target), copies(criterion.learning.critic))


def test_the_critic_is_no_part_of_the_criterion(made):
    criterion = criterion_of(made)
    updates_of(made, criterion, 1)
    assert not list(criterion.parameters()) and not criterion.state_dict() and not list(criterion.buffers())


def test_the_random_numbers_of_the_student_are_its_own(made):
    """What the critic draws at the beginning leaves those of torch as they are."""
    criterion = criterion_of(made)
    torch.manual_seed(6)
    wanted = torch.rand(2)
    torch.manual_seed(6)
    updates_of(made, criterion, 1)
    assert torch.equal(torch.rand(2), wanted)


def test_the_critic_begins_with_the_seed_of_the_run(made):
    found = []
    for seed in (3, 3, 4):
        made.task = type(made.task)()
        criterion = criterion_of(made, seed=seed, critic_pretraining=9)
        updates_of(made, criterion, 1)
        found.append(copies(criterion.learning.target))
    assert equal(found[0], found[1]) and not equal(found[0], found[2])


def test_the_target_network_predicts_what_is_still_to_come(made):
    """If it promises 5 after each token, Q of all sampled tokens but the last is to be 5 more."""
    criterion = criterion_of(made, critic_pretraining=9, critic_lr=1e-30, critic_target_rate=1e-30)
    plain = updates_of(made, criterion, 1)["critic_loss"]
    assert plain < 1
    with torch.no_grad():
        criterion.learning.target.lstm.decoder.fc_out.bias += 5
    promised = updates_of(made, criterion, 1)
    assert 0.5 * 25 < promised["critic_loss"] < 26


# Batches ------------------------------------------------------------------------


@pytest.fixture
def fixed(made, monkeypatch):
    """Fixed samples in the place of drawn ones: two of each sentence, one empty, and one with a word twice."""
    eos = made.task.target_dictionary.eos()
    samples = {number: [[eos], [4 + number, 4 + number, 5, eos]] for number in range(4)}

    def find(task, model, batch, proposals, seed):
        words, rows = WordJoiner(task.target_dictionary), []
        for index, (number, target) in enumerate(zip(batch["id"].tolist(), batch["target"], strict=True)):
            reference = words.reference(target).split()
            for slot, tokens in enumerate(map(torch.tensor, samples[number])):
                bleu = sentence_bleu(words.hypothesis(tokens).split(), reference)
                rows.append((index, slot, tokens, bleu))
        return collate(rows, batch, task, proposals.slots)

    monkeypatch.setattr(sequence, "find_candidates", find)
    pairs = made.task.pairs(8, seed=2)
    made.halves = [pairs.collater([pairs[i] for i in half]) for half in ((0, 1), (2, 3))]
    assert made.halves[0]["target"].shape != made.halves[1]["target"].shape
    return made


def gradient_after(made, batches, updates=1):
    """The critic's first moment in Adam, a tenth of the gradient of one update, and the student's gradient."""
    # A task keeps the critic of its run.
    made.task = type(made.task)()
    still = {"critic_lr": 1e-30, "critic_target_rate": 1e-30}
    criterion = criterion_of(made, sequence_candidates=2, sentence_avg=True, **still)
    optimizer = SimpleNamespace(backward=lambda loss: loss.backward(), step=lambda: None)
    for update in range(updates):
        made.model.zero_grad()
        for batch in batches:
            made.task.train_step(batch, made.model, criterion, optimizer, update)
        made.task.optimizer_step(optimizer, made.model, update)
    state = criterion.learning.optimizer.state_dict()["state"]
    moments = torch.cat([entry["exp_avg"].flatten() for entry in state.values()])
    return moments, torch.cat([p.grad.flatten() for p in made.model.parameters()])


def test_two_batches_of_an_update_are_one_of_twice_the_size(fixed):
    """The same whether or not padding is added: batches of both halves, and of all, have different widths."""
    whole, apart = gradient_after(fixed, [fixed.batch]), gradient_after(fixed, fixed.halves)
    for one, other in zip(whole, apart, strict=True):
        assert one.norm() > 1e-4
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_each_update_has_a_gradient_of_its_own(fixed):
    """The same gradient twice: a tenth of it, and nine tenths of the tenth before."""
    once, twice = (gradient_after(fixed, [fixed.batch], updates)[0] for updates in (1, 2))
    torch.testing.assert_close(twice, 1.9 * once, rtol=0, atol=1e-12)


def test_padding_has_no_influence(fixed):
    pad = fixed.task.target_dictionary.pad()
    target = fixed.batch["target"]
    wider = {**fixed.batch, "target": torch.cat([target, torch.full((4, 3), pad)], dim=1)}
    for one, other in zip(gradient_after(fixed, [fixed.batch]), gradient_after(fixed, [wider]), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_a_batch_that_fills_a_gap_teaches_nothing(fixed):
    criterion = criterion_of(fixed, sequence_candidates=2)
    optimizer = SimpleNamespace(backward=lambda loss: loss.backward(), step=lambda: None)
    fixed.task.train_step(fixed.batch, fixed.model, criterion, optimizer, 0, ignore_grad=True)
    before = copies(criterion.learning.critic)
    fixed.task.optimizer_step(optimizer, fixed.model, 0)
    assert equal(copies(criterion.learning.critic), before)
    assert criterion.learning.updates == 0


def test_duplicates_count_as_often_as_they_were_drawn(fixed, monkeypatch):
    once = gradient_after(fixed, [fixed.batch])
    find = sequence.find_candidates

    def twice(task, model, batch, proposals, seed):
        found = find(task, model, batch, Proposals(2, distinct=False), seed)
        tokens = [row[row != PAD] for row in found.targets]
        rows = [
            (i, 2 * j + copy, tokens[row], found.bleu[i, j].item())
            for row, (i, j) in enumerate(found.owners.t().tolist())
            for copy in (0, 1)
        ]
        return collate(rows, batch, task, 4)

    monkeypatch.setattr(sequence, "find_candidates", twice)
    for one, other in zip(once, gradient_after(fixed, [fixed.batch]), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_figures_are_means_over_tokens_and_samples(fixed):
    """Of a critic whose Q is 0.5 everywhere, with a target network of 0, so that q_t = r_t."""
    still = {"critic_lr": 1e-30, "critic_target_rate": 1e-30, "critic_penalty": 0.0, "critic_pretraining": 9}
    criterion = criterion_of(fixed, sequence_candidates=2, **still)
    updates_of(fixed, criterion, 1)
    with torch.no_grad():
        for network, value in ((criterion.learning.critic, 0.5), (criterion.learning.target, 0.0)):
            for parameter in network.parameters():
                parameter.zero_()
            network.lstm.decoder.fc_out.bias += value
    log = updates_of(fixed, criterion, 1, first=1)
    found = sequence.find_candidates(fixed.task, fixed.model, fixed.batch, criterion.proposals, 0)
    references = list(fixed.batch["target"][found.owners[0]])
    rewards = token_rewards(criterion.words, found.targets, references)[found.targets != PAD]
    assert rewards.max() > 0
    assert log["critic_loss"] == pytest.approx((0.5 - rewards).square().mean().item(), rel=1e-12)
    assert log["q_taken"] == pytest.approx(0.5, rel=1e-12)
    assert log["sample_bleu"] == pytest.approx(rewards.sum().item() / 8, rel=1e-12)
    assert log["sequence_loss"] == pytest.approx(-0.5 * len(rewards) / 8, rel=1e-12)


def test_samples_may_be_empty_and_come_twice(made):
    proposals = criterion_of(made, sequence_candidates=3, sequence_max_len_b=4).proposals
    assert (proposals.number, proposals.distinct, proposals.shortest, proposals.limit.offset) == (3, False, 0, 4)
    assert proposals.method == "sample" and not proposals.with_reference
    assert ActorCriticConfig().sequence_candidates == 1


def test_other_updates_and_sentences_draw_other_samples(made, monkeypatch):
    seeds, find = [], sequence.find_candidates
    monkeypatch.setattr(sequence, "find_candidates", lambda *given: seeds.append(given[-1]) or find(*given))
    criterion = criterion_of(made)
    updates_of(made, criterion, 2, batches=[made.batch, {**made.batch, "id": made.batch["id"] + 1}])
    assert len(set(seeds)) == 4


# Options ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sequence_candidates": 0}, "candidates is 0, but must be at least 1 .*--sequence-candidates"),
        ({"ce_share": 1.5}, "ce_share is 1.5, but must lie between 0 and 1 .*--ce-share"),
        ({"critic_pretraining": -1}, "critic_pretraining is -1, but must not be negative .*--critic-pretraining"),
        ({"critic_width": 0}, "critic_width is 0, but must be at least 1 .*--critic-width"),
        ({"critic_lr": 0.0}, "critic_lr is 0.0, but must be positive .*--critic-lr"),
        ({"critic_lr": float("inf")}, "critic_lr is inf"),
        ({"critic_target_rate": 0.0}, "critic_target_rate is 0.0, but must be positive .*--critic-target-rate"),
        ({"critic_target_rate": 1.5}, "critic_target_rate is 1.5, but must lie between 0 and 1"),
        ({"critic_penalty": -1.0}, "critic_penalty is -1.0, but must not be negative .*--critic-penalty"),
        ({"critic_trace": 2.0}, "critic_trace is 2.0, but must lie between 0 and 1 .*--critic-trace"),
    ],
)
def test_options_are_checked(made, options, words):
    with pytest.raises(InputError, match=words):
        criterion_of(made, **options)
