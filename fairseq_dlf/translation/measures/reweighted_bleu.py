"""Expected BLEU by re-weighting a set of candidates: the design of minimum-risk training."""

from typing import Any

from fairseq.models import BaseFairseqModel
from torch import Tensor

from fairseq_dlf.translation.bleu.candidates import find_candidates
from fairseq_dlf.translation.bleu.expected import expected_bleu
from fairseq_dlf.translation.measures.measure import MEASURES, Terms, TranslationMeasure


@MEASURES.register("reweighted_bleu")
class ReweightedBleu(TranslationMeasure):
    """m̃(x, y) = Σ_{y* ∈ C(x)} BLEU(y*, y) q(y* | x), with q = softmax over the candidates C of α · score.

    The value draws C anew at every ω; its gradient holds C fixed. With the default score, log p / length, q is
    almost flat, and the gradient about a sentence's length smaller than that of the expected BLEU of samples
    (`sampled_bleu`), in much the same direction.

    Cost of a value: a decoding, and a forward pass over all candidates; with the gradient, a backward pass more.
    Paper: section 4.1; Shen et al. 2016, Eq 13.
    """

    figure = "expected_bleu"
    reads = ("candidates", "method", "sharpness", "normalize", "with_reference")

    def terms(self, params: Tensor, model: BaseFairseqModel, batch: dict[str, Any]) -> Terms:
        dev = self.dev
        candidates = find_candidates(dev.task, model, batch, dev.settings.proposals, dev.seed)
        total = dev.student.run(
            params, lambda forward: expected_bleu(forward, model, candidates, dev.settings, dev.padding).sum()
        )
        return Terms(total, len(batch["target"]), total)
