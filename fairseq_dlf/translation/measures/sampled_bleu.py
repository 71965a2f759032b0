"""Expected BLEU of translations that are sampled from the student, with the gradient of the score function."""

from typing import Any

import torch
from fairseq.models import BaseFairseqModel
from torch import Tensor

from fairseq_dlf.core.teaching.expectations import others_mean
from fairseq_dlf.translation.bleu.candidates import Proposals, find_candidates
from fairseq_dlf.translation.bleu.scoring import sample_log_probs, score_tokens
from fairseq_dlf.translation.measures.measure import MEASURES, Terms, TranslationMeasure


@MEASURES.register("sampled_bleu")
class SampledBleu(TranslationMeasure):
    """M̃(ω) = E_q[BLEU], the mean over n samples of each sentence, duplicates included.

    The gradient is the mean of (BLEU(y_i) − mean of the other samples' BLEU) ∇ log q(y_i): an unbiased estimate of
    that of the expectation, of which the value is an unbiased estimate, too. Of the options of candidates only
    their number counts.

    Cost of a value: a decoding of n samples; with the gradient, a forward and a backward pass over them more.
    Paper: section 4.1 (smoothed BLEU, here over all translations); Williams 1992.
    """

    figure = "sampled_bleu"
    reads = ("candidates",)

    def terms(self, params: Tensor, model: BaseFairseqModel, batch: dict[str, Any]) -> Terms:
        dev = self.dev
        # Without duplicates, or without the empty translation, a set of candidates is no sample.
        proposals = Proposals(dev.settings.candidates, distinct=False, shortest=0)
        candidates = find_candidates(dev.task, model, batch, proposals, dev.seed)
        total, sentences = candidates.bleu.mean(dim=1).sum(), len(batch["target"])
        if not torch.is_grad_enabled():
            return Terms(total, sentences, None)
        rows = candidates.owners[0], candidates.targets
        longest = proposals.limit.longest(model, batch["net_input"]["src_tokens"].size(1))

        def surrogate(forward: Any) -> Tensor:
            scored = score_tokens(forward, model, candidates.batch, *rows, dev.padding)
            log_q = candidates.table(sample_log_probs(scored, longest))
            advantage = candidates.bleu - others_mean(candidates.bleu, candidates.present)
            return (advantage.to(log_q.dtype) * log_q).mean(dim=1).sum()

        return Terms(total, sentences, dev.student.run(params, surrogate))
