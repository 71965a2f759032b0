"""What the criterions of students share: validation, sample sizes and the log, around one hook for the loss."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.hooks.updates import watch_updates


class TrainingLoss(NamedTuple):
    """The loss of a batch in training.

    Attributes:
        loss: a scalar with a graph, summed: fairseq divides it by the sample size of the whole update.
        nll_nats: plain cross-entropy in nats, summed over target tokens, without a graph.
        figures: further figures for the log, by name; their means over batches and workers are logged.
    """

    loss: Tensor
    nll_nats: Tensor
    figures: Mapping[str, float] = {}


class StudentCriterion(FairseqCriterion):
    """A loss of students; a subclass says what is minimised in training.

    The loss is a sum over target tokens, or over sentences with `--sentence-avg`, which fairseq divides by
    their number over all workers and the batches of `--update-freq`. Validation is plain cross-entropy in
    base 2, and so are `nll_loss` and `ppl` in training, so that runs with different losses can be compared.

    Attributes:
        figures: as `logged` returns them, where they are always the same.
        update: number of completed updates.
    """

    figures: ClassVar[tuple[str, ...]] = ()

    def __init__(self, cfg: Any, task: FairseqTask):
        super().__init__(task)
        self.cfg = cfg
        self.update = 0
        self._cross_entropy = DynamicLoss(Diagonal(), self.padding_idx, ce_share=1.0)
        watch_updates(task, self._begin_update)

    def train(self, mode: bool = True) -> "StudentCriterion":
        """Refuse options that would be ignored when training begins.

        Not earlier: fairseq builds the criterion also to validate and to decode, and checkpoints of earlier
        versions, which accepted such options, still do.

        Raises:
            InputError: naming the option.
        """
        if mode:
            self.require_effect()
        super().train(mode)
        return self

    def require_effect(self) -> None:
        """Raise InputError for options that would be ignored; by default there are none."""

    @classmethod
    def logged(cls) -> Iterable[str]:
        """Return the names of all figures that `training_loss` may return, in the order of the log."""
        return cls.figures

    def training_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        """Return the loss of a batch in training.

        Args:
            model: the student, in fairseq's and torch's wrappers; it must be called once, as a whole.
        """
        raise NotImplementedError

    def forward(
        self, model: nn.Module, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Return (summed loss, sample size, logging output), like fairseq's criterions."""
        # fairseq may set the model alone to evaluate.
        training = self.training and model.training
        found = self.training_loss(model, sample) if training else self._validation_loss(model, sample)
        sample_size = self.sample_size(sample)
        logging_output = {
            "loss": found.loss.data,
            "nll_loss": found.nll_nats,
            "ntokens": sample["ntokens"],
            "nsentences": sample["target"].size(0),
            "sample_size": sample_size,
            **({"dlf_logs": 1} if training else {}),
            **found.figures,
        }
        return found.loss, sample_size, logging_output

    def sample_size(self, sample: dict[str, Any]) -> int:
        """Return the number of target tokens, or of sentences with `--sentence-avg`."""
        return int(sample["target"].size(0) if self.cfg.sentence_avg else sample["ntokens"])

    def _begin_update(self, done: int) -> None:
        self.update = done

    def _validation_loss(self, model: nn.Module, sample: dict[str, Any]) -> TrainingLoss:
        logits = model(**sample["net_input"])[0]
        return TrainingLoss(*self._cross_entropy(logits, sample["target"]))

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the loss and cross-entropy in base 2, like fairseq's criterions, and the means of figures."""

        def total(key: str) -> Any:
            return utils.item(sum(log.get(key, 0) for log in logging_outputs))

        sample_size, tokens, logs = total("sample_size"), total("ntokens"), total("dlf_logs")
        metrics.log_scalar("loss", total("loss") / sample_size / math.log(2), sample_size, round=3)
        metrics.log_scalar("nll_loss", total("nll_loss") / tokens / math.log(2), tokens, round=3)
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
        if logs > 0:
            for key in cls.logged():
                if any(key in log for log in logging_outputs):
                    metrics.log_scalar(key, total(key) / logs, logs, round=4)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Return True: every entry is a number that can be summed over workers."""
        return True
