"""What the formulas add up to, by enumeration of a small language: the gradient of expected BLEU, and the true Q."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.translation.bleu.candidates import collate
from fairseq_dlf.translation.bleu.decoding import WordJoiner, select_rows
from fairseq_dlf.translation.bleu.scores import sentence_bleu
from fairseq_dlf.translation.students.losses import sequence
from fairseq_dlf.translation.students.losses.actor_critic import ActorCriticConfig, ActorCriticCriterion
from fairseq_dlf.translation.students.losses.critic import Prefixes
from tests.translation.conftest import TinyTask, _lstm

LONGEST = 2
NEVER_READ = 99.0


class Language:
    """All translations of one sentence of up to two words, with their probabilities, and the true Q."""

    def __init__(self, task, model, batch, row):
        dictionary = task.target_dictionary
        self.model, self.pad, self.end = model, dictionary.pad(), dictionary.eos()
        self.batch = select_rows(batch, torch.tensor([row]), left_pad_source=True)
        self.batch["ntokens"] = int((self.batch["target"] != self.pad).sum())
        self.words = WordJoiner(dictionary)
        self.reference = self.words.reference(self.batch["target"][0]).split()
        going_on = [a for a in range(len(dictionary)) if a not in (self.pad, self.end)]
        self.prefixes = [p for length in range(LONGEST + 1) for p in itertools.product(going_on, repeat=length)]
        with torch.no_grad():
            self.probs = {prefix: self.policy(prefix) for prefix in self.prefixes}
        self.true_q = {}
        for prefix in reversed(self.prefixes):
            self.true_q[prefix] = self.values(prefix)

    def policy(self, prefix):
        """p(a | prefix), with a graph; after the longest translation only the end follows."""
        source, begun = self.batch["net_input"], torch.tensor([[self.end, *prefix]])
        logits = self.model(source["src_tokens"], source["src_lengths"], begun)[0][0, -1].clone()
        logits[self.pad] = -torch.inf
        if len(prefix) == LONGEST:
            return torch.nn.functional.one_hot(torch.tensor(self.end), len(logits)).double()
        return logits.softmax(0)

    def bleu(self, prefix):
        return sentence_bleu(self.words.hypothesis(torch.tensor(prefix)).split(), self.reference)

    def values(self, prefix):
        """Q of each next token from those of longer prefixes."""
        found = torch.full_like(self.probs[prefix], NEVER_READ)
        found[self.end] = 0.0
        if len(prefix) < LONGEST:
            for a in range(len(found)):
                if a not in (self.pad, self.end):
                    longer = (*prefix, a)
                    after = (self.probs[longer] * self.true_q[longer]).sum()
                    found[a] = self.bleu(longer) - self.bleu(prefix) + after
        return found

    def probability(self, prefix, graph=False):
        """q of the translation that ends after this prefix."""
        found = 1.0
        for t, a in enumerate((*prefix, self.end)):
            found = found * (self.policy(prefix[:t]) if graph else self.probs[prefix[:t]])[a]
        return found

    def gradient(self):
        """The exact gradient of expected BLEU."""
        expected = sum(self.probability(p, graph=True) * self.bleu(p) for p in self.prefixes)
        return torch.autograd.grad(expected, list(self.model.parameters()))


class TrueCritic:
    """In the place of a critic's training: it knows Q."""

    updates, figures = 0, {"critic_loss": 0.0, "q_taken": 0.0}

    def __init__(self, language):
        self.language = language

    def teach(self, prefixes, policy, rewards, counts):
        table = torch.full_like(policy.probs, NEVER_READ)
        for row, step in policy.real.nonzero().tolist():
            table[row, step] = self.language.true_q[tuple(prefixes.previous[row, 1 : step + 1].tolist())]
        return table


@pytest.fixture
def made():
    """A tiny student without dropout, with translations of at most two words, and the languages of two sentences."""
    torch.manual_seed(5)
    task = TinyTask(types=7)
    model = _lstm(task, 0.0).double().train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0)
    pairs = task.pairs(6, seed=4, longest=3)
    batch = pairs.collater([pairs[i] for i in range(6)])
    made = SimpleNamespace(task=task, model=model)
    made.languages = [Language(task, model, batch, row) for row in (1, 3)]
    return made


def criterion_of(made, **options):
    short = {"sequence_max_len_a": 0, "sequence_max_len_b": LONGEST}
    defaults = {**short, "critic_width": 12, "critic_pretraining": 0, "sentence_avg": False, "seed": 3}
    return ActorCriticCriterion(ActorCriticConfig(**{**defaults, **options}), made.task).train()


def gradient_of(made, criterion, language, update=0):
    made.model.zero_grad()
    optimizer = SimpleNamespace(backward=lambda loss: loss.backward())
    criterion.task.train_step(language.batch, made.model, criterion, optimizer, update)
    return [p.grad.clone() for p in made.model.parameters()]


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


def test_the_small_languages_are_whole(made):
    for language in made.languages:
        assert sum(language.probability(p).item() for p in language.prefixes) == pytest.approx(1.0, abs=1e-12)
        bleus = [language.bleu(p) for p in language.prefixes]
        assert max(bleus) > 0.1 > min(bleus)
        start = (language.probs[()] * language.true_q[()]).sum().item()
        expected = sum(language.probability(p).item() * language.bleu(p) for p in language.prefixes)
        assert start == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_with_the_true_q_the_expected_gradient_is_that_of_expected_bleu(made, monkeypatch, share):
    criterion = criterion_of(made, ce_share=share)
    for language in made.languages:
        criterion.learning = TrueCritic(language)
        expected = 0.0
        for prefix in language.prefixes:
            tokens = torch.tensor([*prefix, language.end])
            row = (0, 0, tokens, language.bleu(prefix))
            candidates = collate([row], language.batch, made.task, slots=1)
            monkeypatch.setattr(sequence, "find_candidates", lambda *a, found=candidates: found)
            gradients = flat(gradient_of(made, criterion, language))
            expected = expected + language.probability(prefix).item() * gradients
        size = language.batch["ntokens"]
        exact = -(1 - share) * size * flat(language.gradient())
        if share:
            logits = made.model(**language.batch["net_input"])[0]
            nll = torch.nn.functional.cross_entropy(logits[0], language.batch["target"][0], ignore_index=language.pad)
            exact += share * size * flat(torch.autograd.grad(nll, list(made.model.parameters())))
        assert exact.norm() > 1e-3
        assert (expected - exact).norm() <= 1e-10 * exact.norm()


def test_the_mean_over_drawn_translations_is_that_gradient_too(made):
    """More than 2,000 draws in groups of 6, of which fairseq draws no more with 7 types."""
    language = made.languages[0]
    criterion = criterion_of(made, sequence_candidates=6)
    criterion.learning = TrueCritic(language)
    groups = torch.stack([flat(gradient_of(made, criterion, language, update)) for update in range(340)])
    size = language.batch["ntokens"]
    exact = -size * flat(language.gradient())
    directions = torch.randn(exact.numel(), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    drawn, wanted = groups @ directions, exact @ directions
    error = drawn.std(dim=0) / len(groups) ** 0.5
    assert (error < 0.2 * wanted.abs()).any()
    assert ((drawn.mean(dim=0) - wanted).abs() <= 3 * error).all()


@pytest.mark.parametrize("trace", [0.0, 1.0])
def test_a_critic_comes_close_to_the_true_q_of_a_fixed_student(made, trace):
    options = {"critic_lr": 0.01, "critic_target_rate": 0.2, "critic_penalty": 0.0, "critic_pretraining": 10**6}
    criterion = criterion_of(made, sequence_candidates=6, critic_trace=trace, **options)
    optimizer = SimpleNamespace(backward=lambda loss: loss.backward(), step=lambda: None)
    errors = []
    for update in range(90):
        for language in made.languages:
            criterion.task.train_step(language.batch, made.model, criterion, optimizer, update)
        if update == 0:
            errors.append(sum(map(error_of(criterion.learning.critic), made.languages)))
        criterion.task.optimizer_step(optimizer, made.model, update)
    errors.append(sum(map(error_of(criterion.learning.critic), made.languages)))
    assert criterion.learning.updates == 90
    assert errors[1] < 0.2 * errors[0]


def error_of(critic):
    """Mean squared error of Q over what the student does: prefixes and next tokens by their probabilities."""

    def error(language):
        total = 0.0
        for prefix in language.prefixes:
            reached = 1.0
            for t, a in enumerate(prefix):
                reached *= language.probs[prefix[:t]][a].item()
            begun = Prefixes(torch.tensor([[language.end, *prefix]]), language.batch["target"], torch.tensor([0]))
            with torch.no_grad():
                difference = critic(begun)[0, -1] - language.true_q[prefix]
            total += reached * (language.probs[prefix] * difference.square()).sum().item()
        return total

    return error
