"""The gradient of sampled BLEU against the exact one, over every translation of a tiny language."""

from functools import partial

import pytest
import torch

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.teaching.expectations import others_mean
from fairseq_dlf.translation.bleu.candidates import Proposals
from fairseq_dlf.translation.bleu.expected import ExpectedBleuSettings
from fairseq_dlf.translation.bleu.scoring import sample_log_probs, score_tokens
from fairseq_dlf.translation.measures import DevSample, SampledBleu, sampled_bleu
from tests.translation.students.losses.made_sequences import batch_of
from tests.translation.tiny_language import LIMIT, LONGEST, directions_of, standard_errors_away, tiny_language

PARTS, SENTENCES, SAMPLES = 50, 50, 3


@pytest.fixture(scope="module")
def language():
    return tiny_language()


@pytest.fixture(scope="module")
def exact(language):
    """E_q[BLEU] and its gradient, by autograd through the sum."""
    student, candidates = Student(language.model, None), language.candidates
    leaf = student.flat_params().requires_grad_()
    rows = candidates.owners[0], candidates.targets

    def expectation(forward):
        scored = score_tokens(forward, language.model, candidates.batch, *rows, language.task.target_dictionary.pad())
        return (sample_log_probs(scored, LONGEST).exp() * language.bleu).sum()

    value = student.run(leaf, expectation)
    return float(value.detach()), torch.autograd.grad(value, leaf)[0]


@pytest.fixture(scope="module")
def estimates(language):
    """Values, and cotangents, (parts, parameters), each from sentences that repeat the source."""
    student, found = Student(language.model, None), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampled_bleu, "Proposals", partial(Proposals, limit=LIMIT))
        for part in range(PARTS):
            batch = batch_of(language, [language.pair] * SENTENCES)
            settings = ExpectedBleuSettings(SAMPLES)
            measure = SampledBleu(DevSample(language.task, student, [batch], 70 + part, settings))
            found.append(measure.value_and_cotangent(student.flat_params()))
    return torch.tensor([each.value for each in found]), torch.stack([each.cotangent for each in found])


def test_value_and_gradient_are_unbiased(exact, estimates):
    """Within three standard errors of 2,500 draws of three samples, in eight directions."""
    (value, gradient), (values, cotangents) = exact, estimates
    assert standard_errors_away(values.double().unsqueeze(1), torch.tensor([value])).item() < 3
    along = directions_of(gradient)
    assert standard_errors_away(cotangents @ along.t(), along @ gradient).max() < 3


def test_the_gradient_of_a_reweighted_set_would_be_found_out(exact, estimates):
    """A mistake of size, such as the re-weighting's: half of the gradient is many standard errors away."""
    _, gradient = exact
    along = directions_of(gradient)
    assert standard_errors_away(0.5 * estimates[1] @ along.t(), along @ gradient).max() > 5


def test_the_baseline_is_the_mean_of_the_others():
    present = torch.tensor([[True, True, True], [True, True, False]])
    found = others_mean(torch.tensor([[0.1, 0.2, 0.6], [0.5, 0.3, 9.0]]), present)
    torch.testing.assert_close(found, torch.tensor([[0.4, 0.35, 0.15], [0.3, 0.5, 0.0]]))
