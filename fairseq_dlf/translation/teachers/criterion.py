"""The criterion `dlf_teaching`: an episode's hypergradient as a loss of the teacher."""

import logging

import torch
from fairseq import utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics

logger = logging.getLogger(__name__)

# Logged figures with their digits: means over all episodes, and over those that did not collapse.
OF_EPISODES = {
    "expected_bleu_before": 2,
    "expected_bleu": 2,
    "student_loss": 4,
    "horizon": 0,
    "forward_s": 1,
    "reverse_s": 1,
    "bleu": 2,
    "collapsed": 2,
}
OF_HYPERGRADIENTS = {"loss": 6, "dphi_norm": 6, "leverage": 3, "domega_growth": 3}


@register_criterion("dlf_teaching", dataclass=FairseqDataclass)
class DlfTeachingCriterion(FairseqCriterion):
    """−Σ_t ⟨Φ_t(θ), dΦ_t⟩, whose gradient is exactly −∂M̃/∂θ (paper, Algorithm 1).

    Training: one episode and one batched forward of the teacher over all s_t.
    Validation: the loss is 1 − expected BLEU of a fixed episode's student.
    """

    def __init__(self, task):
        super().__init__(task)
        if not hasattr(task, "teach"):
            raise ValueError(
                f"--criterion dlf_teaching trains a teacher, but the task is a {type(task).__name__}: pass "
                "--task dlf_teaching, or --criterion dlf to train a student"
            )

    def forward(self, model, sample, reduce=True):
        device = next(model.parameters()).device
        if self.training and model.training:
            loss, figures, sample_size = self._teach(model, device)
        else:
            loss, figures = self._examine(model, device)
            sample_size = 1
        logging_output = {
            "loss": loss.detach(),
            "sample_size": sample_size,
            "nsentences": 1,
            "ntokens": 1,
            **{f"_{name}": value for name, value in figures.items()},
        }
        return loss, sample_size, logging_output

    def _teach(self, model, device):
        report = self.task.teach(model, device)
        result = report.result
        coefficients = model(report.progress)
        figures = {
            "expected_bleu_before": 100 * result.measure_before,
            "expected_bleu": 100 * result.measure_after,
            "student_loss": float(result.losses.mean()),
            "horizon": self.task.cfg.truncate or self.task.cfg.student_steps,
            "forward_s": result.forward_s,
            "reverse_s": result.reverse_s,
            "collapsed": float(result.collapse is not None),
        }
        found = result.hypergradient
        if found is None:
            # Without weight, so that the mean is over the good episodes of an update.
            return 0.0 * coefficients.sum(), {**figures, "dphi_norm": 0.0, "leverage": 0.0, "domega_growth": 0.0}, 0
        figures["dphi_norm"] = float(found.coefficients.norm())
        figures["leverage"] = 100 * found.leverage
        figures["domega_growth"] = found.growth
        return -(coefficients * found.coefficients).sum(), figures, 1

    def _examine(self, model, device):
        report = self.task.examine(model, device)
        figures = {"expected_bleu": 100 * report.expected_bleu, "bleu": report.greedy.score}
        logger.info(f"greedy dev BLEU of the taught student {report.greedy.score:.2f} {report.greedy.signature}")
        return torch.tensor(1.0 - report.expected_bleu, device=device), figures

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        """Logs the means over the episodes of an update, on all workers."""

        def total(key):
            return utils.item(sum(log.get(key, 0) for log in logging_outputs))

        for figures, count in ((OF_EPISODES, total("nsentences")), (OF_HYPERGRADIENTS, total("sample_size"))):
            for name, digits in figures.items():
                key = name if name == "loss" else f"_{name}"
                if count and any(key in log for log in logging_outputs):
                    metrics.log_scalar(name, total(key) / count, count, round=digits)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """True: every entry is a number that sums over workers."""
        return True
