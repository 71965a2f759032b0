"""BLEU of greedy translations: the measure itself, which has a value but no gradient."""

from typing import Any

import sacrebleu
import torch
from fairseq.models import BaseFairseqModel
from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import MeasuredCotangent
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.bleu.decoding import WordJoiner, build_generator, evaluating, module_at
from fairseq_dlf.translation.bleu.scores import MAX_ORDER
from fairseq_dlf.translation.measures.measure import MEASURES, Terms, TranslationMeasure


@MEASURES.register("greedy_bleu")
class GreedyBleu(TranslationMeasure):
    """Corpus BLEU / 100 of greedy translations with subwords joined, for estimators that need no gradient.

    Cost of a value: a greedy decoding.
    Source: sacrebleu without further tokenisation.
    """

    figure = "greedy_bleu"
    differentiable = False

    def value(self, params: Tensor) -> float:
        model = module_at(self.dev.student, params)
        counts = torch.zeros(2 * MAX_ORDER + 2, dtype=torch.float64, device=params.device)
        with evaluating(model), torch.no_grad():
            for batch in self.dev.batches:
                counts += counts.new_tensor(self._counts(model, batch))
        *ngrams, length, wanted = (int(count) for count in self.dev.student.combine(counts).tolist())
        # As a metric smooths by default, but not this function of it.
        correct, total = ngrams[:MAX_ORDER], ngrams[MAX_ORDER:]
        found = sacrebleu.BLEU.compute_bleu(correct, total, length, wanted, smooth_method="exp")
        return float(found.score) / 100

    def value_and_cotangent(self, params: Tensor) -> MeasuredCotangent:
        """Raise InputError: there is no gradient."""
        raise InputError("the measure greedy_bleu has no gradient: take another estimator or measure", "measure")

    def terms(self, params: Tensor, model: BaseFairseqModel, batch: dict[str, Any]) -> Terms:
        raise NotImplementedError("BLEU of a corpus is no sum over batches")

    def _counts(self, model: BaseFairseqModel, batch: dict[str, Any]) -> list[int]:
        """Return n-grams that match, n-grams there are, and the words of the output and of the reference."""
        words = WordJoiner(self.dev.task.target_dictionary)
        translations = build_generator(self.dev.task, model, beam=1).generate([model], batch)
        outputs = [words.hypothesis(mine[0]["tokens"]) for mine in translations]
        references = [words.reference(row) for row in batch["target"]]
        # force=True silences sacrebleu's warning that the text is tokenised already.
        found = sacrebleu.BLEU(tokenize="none", force=True).corpus_score(outputs, [references])
        return [*found.counts, *found.totals, found.sys_len, found.ref_len]
