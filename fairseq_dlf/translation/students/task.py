"""The task `dlf_translation`: translation, with expected and greedy BLEU at each validation."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary, FairseqDataset
from fairseq.data.iterators import EpochBatchIterating
from fairseq.logging import metrics
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from omegaconf import II
from torch import nn

from fairseq_dlf.core.support.errors import InputError, brief
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.translation.bleu.candidates import find_candidates
from fairseq_dlf.translation.bleu.decoding import evaluating, select_rows, subword_symbol, unwrapped
from fairseq_dlf.translation.bleu.expected import (
    MEASURE_SENTENCES,
    ExpectedBleuConfig,
    expected_bleu,
    expected_bleu_settings,
)
from fairseq_dlf.translation.hooks.batch_order import resumable_batches
from fairseq_dlf.translation.hooks.launch import require_data_bin

logger = logging.getLogger(__name__)


@dataclass
class DlfTranslationConfig(TranslationConfig, ExpectedBleuConfig):
    # A beam of 1: students are compared by greedy BLEU while they learn.
    eval_bleu_args: Optional[str] = field(
        default='{"beam": 1}', metadata={"help": "generation options of the BLEU at validation, as JSON"}
    )
    no_dev_bleu: bool = field(
        default=False, metadata={"help": "validate by cross-entropy alone, without greedy and expected BLEU"}
    )
    expected_bleu_every: int = field(
        default=1, metadata={"help": "measure expected BLEU on every N-th dev sentence only, to save time"}
    )
    measure_seed: int = field(default=1, metadata={"help": "seed of the sampling of candidates"})
    seed: int = II("common.seed")


def _require_options(cfg: DlfTranslationConfig) -> None:
    """Raise InputError for options out of range, which fairseq would accept, or fail at without naming them."""
    if cfg.expected_bleu_every < 1:
        raise InputError(f"--expected-bleu-every is {cfg.expected_bleu_every}, but must be at least 1")
    if not cfg.no_dev_bleu:
        _require_generation(cfg.eval_bleu_args or "{}")


def _require_generation(text: str) -> None:
    wanted = """wanted a JSON object such as '{"beam": 1}'"""
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--eval-bleu-args is {text}, which is not JSON ({brief(error)}): {wanted}") from error
    if not isinstance(given, dict):
        raise InputError(f"--eval-bleu-args is {text}, a {type(given).__name__}: {wanted}")
    beam = given.get("beam", 1)
    if not isinstance(beam, int) or isinstance(beam, bool) or beam < 1:
        raise InputError(f"--eval-bleu-args has a beam of {beam!r}, but it must be 1 or more: {wanted}")


@register_task("dlf_translation", dataclass=DlfTranslationConfig)
class DlfTranslationTask(TranslationTask):
    """fairseq's translation task; greedy sacreBLEU and expected BLEU need no further option."""

    cfg: DlfTranslationConfig

    def __init__(self, cfg: DlfTranslationConfig, src_dict: Dictionary, tgt_dict: Dictionary):
        super().__init__(cfg, src_dict, tgt_dict)
        _require_options(cfg)
        self.settings = expected_bleu_settings(cfg)
        cfg.eval_bleu = not cfg.no_dev_bleu
        if cfg.eval_bleu_remove_bpe is None:
            cfg.eval_bleu_remove_bpe = subword_symbol(tgt_dict)
        self._signature_logged = False

    @classmethod
    def setup_task(cls, cfg: DlfTranslationConfig, **kwargs: Any) -> "DlfTranslationTask":
        require_data_bin(cfg.data)
        return super().setup_task(cfg, **kwargs)

    def get_batch_iterator(self, dataset: FairseqDataset, *, epoch: int = 1, **limits: Any) -> EpochBatchIterating:
        return resumable_batches(self, super().get_batch_iterator, dataset, epoch, limits)

    def valid_step(self, sample: dict[str, Any], model: nn.Module, criterion: FairseqCriterion) -> Any:
        loss, sample_size, logging_output = super().valid_step(sample, model, criterion)
        if not self.cfg.no_dev_bleu:
            logging_output.update(self._expected_bleu(model, sample))
        return loss, sample_size, logging_output

    def reduce_metrics(self, logging_outputs: list[dict[str, Any]], criterion: FairseqCriterion) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        if any("_expected_bleu_sum" in log for log in logging_outputs):
            sentences = sum(int(log.get("_expected_bleu_sentences", 0)) for log in logging_outputs)
            total = sum(float(log.get("_expected_bleu_sum", 0)) for log in logging_outputs)
            if sentences > 0:
                metrics.log_scalar("expected_bleu", 100 * total / sentences, sentences, round=2)
            self._log_signature()

    def _expected_bleu(self, model: nn.Module, sample: dict[str, Any]) -> dict[str, float]:
        model = unwrapped(model)
        total, sentences = 0.0, 0
        rows = torch.nonzero(sample["id"] % self.cfg.expected_bleu_every == 0).flatten()
        for part in rows.split(MEASURE_SENTENCES) if len(rows) else ():
            batch = select_rows(sample, part, self.cfg.left_pad_source)
            candidates = find_candidates(self, model, batch, self.settings.proposals, self.cfg.measure_seed)
            # Which fairseq-validate does not say.
            with evaluating(model), torch.no_grad():
                total += float(expected_bleu(model, model, candidates, self.settings, self.tgt_dict.pad()).sum())
            sentences += len(batch["target"])
        return {"_expected_bleu_sum": total, "_expected_bleu_sentences": sentences}

    def _log_signature(self) -> None:
        if self._signature_logged:
            return
        self._signature_logged = True
        from sacrebleu.metrics import BLEU

        tokenize = "none" if self.cfg.eval_tokenized_bleu else "13a"
        signature = BLEU(tokenize=tokenize, force=True)
        signature.corpus_score(["-"], [["-"]])
        logger.info(
            f"bleu: greedy unless --eval-bleu-args says otherwise, {signature.get_signature()}; "
            f"expected_bleu: {Signature.of('ebleu', self.settings.signature)}"
        )
