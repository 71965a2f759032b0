"""What a controller of translation sees: tallies of dev tokens, greedy BLEU, and a model that is left as it was."""

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.translation.bleu.decoding import fixed_sample, greedy_bleu
from fairseq_dlf.translation.bleu.type_facts import type_facts
from fairseq_dlf.translation.students.dev_sample import DevSample, SampledStudent


@pytest.fixture
def built(tiny):
    made = tiny("lstm")
    made.dev = made.task.pairs(9, seed=3)
    made.task.datasets = {"valid": made.dev}
    made.model.train()
    return made


@pytest.mark.parametrize("spec", ["bins(number=2,kinds=1)", "shares(number=3)", "shares", "bins(number=1)"])
def test_statistics_are_means_over_the_dev_tokens_of_a_bin(built, spec):
    form = FORMS.make(spec).fitted(type_facts(built.task.target_dictionary))
    found = SampledStudent(DevSample(built.task, "valid,other", 6, seed=2), form, built.model).statistics()
    built.model.eval()
    every = [[] for _ in range(form.size(len(built.task.target_dictionary)))]
    for index in fixed_sample(built.dev, 6, seed=2):
        batch = built.dev.collater([built.dev[index]])
        table = torch.log_softmax(built.model(**batch["net_input"])[0][0], dim=-1).detach()
        for row, word in zip(table, batch["target"][0].tolist(), strict=True):
            place = int(form.bin_of(torch.tensor(word)))
            every[place].append(-float(row[word]))
            if form.name == "bins":
                every[form.bins + place].append(-float(row.mean()))
    wanted = torch.tensor([sum(values) / max(1, len(values)) for values in every], dtype=torch.float64)
    assert (found > 0).any()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


def test_the_measure_is_greedy_bleu_of_the_sample_and_the_model_stays_as_it_was(built, monkeypatch):
    sample = DevSample(built.task, "valid", 6, seed=2)
    student = SampledStudent(sample, FORMS.make("shares"), built.model)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    value = student.measure()
    student.statistics()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in built.model.modules())
    assert value == greedy_bleu(built.task, built.model, built.dev, fixed_sample(built.dev, 6, seed=2)).score / 100


def test_a_missing_or_too_small_dev_subset_is_named(built):
    def missing(subset, **options):
        raise FileNotFoundError(subset)

    built.task.load_dataset = missing
    with pytest.raises(InputError, match="no dev subset 'valid2', which the controller learns from: preprocess one"):
        DevSample(built.task, "valid2", 6, seed=2)
    with pytest.raises(InputError, match="10 sentences were asked for, the data set has 9: ask for fewer, or 0"):
        DevSample(built.task, "valid", 10, seed=2)
