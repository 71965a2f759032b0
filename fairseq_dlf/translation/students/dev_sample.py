"""How a student does on a fixed sample of dev: greedy BLEU, and what the coefficients of a form act on."""

from typing import Any

import torch
from fairseq.data import FairseqDataset
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.forms import Form
from fairseq_dlf.core.teaching.log_probs import log_probs
from fairseq_dlf.translation.bleu.decoding import batches_of, evaluating, fixed_sample, greedy_bleu


class DevSample:
    """A fixed sample of the first dev subset.

    Args:
        task: the run's task.
        subsets: names of dev subsets, with commas.
        sentences: size of the sample; 0 takes all sentences.
        seed: of the sample.

    Raises:
        InputError: there is no such subset, or it has too few sentences.
    """

    def __init__(self, task: FairseqTask, subsets: str, sentences: int, seed: int):
        self.task = task
        self.dataset = _loaded(task, subsets.split(",")[0])
        self.indices = fixed_sample(self.dataset, sentences, seed)


class SampledStudent:
    """A student as it is now; an `Observed` of the core.

    Args:
        sample: the dev sentences.
        form: a form with tallies, fitted.
        model: the student, unwrapped; its modes and random numbers are left as they are.
    """

    def __init__(self, sample: DevSample, form: Form, model: BaseFairseqModel):
        self._sample, self._form, self._model = sample, form, model

    def statistics(self) -> Tensor:
        """Return the mean tally of each coefficient, (coefficients,), float64, on the CPU; 0 where no token counts.

        Cost: a forward pass over the sample.
        """
        sample, model = self._sample, self._model
        device, size = next(model.parameters()).device, self._form.size(len(sample.task.target_dictionary))
        sums, tokens = torch.zeros(2, size, dtype=torch.float64)
        with evaluating(model), torch.no_grad():
            for batch in batches_of(sample.dataset, sample.indices, device):
                more_sums, more_tokens = self._tallies(batch)
                sums += more_sums.double().cpu()
                tokens += more_tokens.double().cpu()
        return sums / tokens.clamp(min=1)

    def measure(self) -> float:
        """Return greedy BLEU / 100 of the sample, which costs a greedy decoding."""
        sample = self._sample
        return greedy_bleu(sample.task, self._model, sample.dataset, sample.indices).score / 100

    def _tallies(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        logits, target = self._model(**batch["net_input"])[0], batch["target"]
        real = target != self._sample.task.target_dictionary.pad()
        form = self._form
        return form.tallies(log_probs(logits[real], target[real], summed=form.reads_sum, every=form.reads_every))


def _loaded(task: FairseqTask, subset: str) -> FairseqDataset:
    if subset not in task.datasets:
        try:
            task.load_dataset(subset, combine=False, epoch=1)
        except FileNotFoundError as error:
            raise InputError(
                f"the data-bin has no dev subset {subset!r}, which the controller learns from: preprocess one "
                "(--validpref), or name another",
                setting="valid_subset",
            ) from error
    return task.dataset(subset)
