"""Smoothed measures of students of translation, one file each; importing this package registers them all."""

from fairseq_dlf.translation.measures.greedy_bleu import GreedyBleu
from fairseq_dlf.translation.measures.measure import (
    MEASURES,
    DevSample,
    Terms,
    TranslationMeasure,
    measure_signature,
)
from fairseq_dlf.translation.measures.reweighted_bleu import ReweightedBleu
from fairseq_dlf.translation.measures.sampled_bleu import SampledBleu
from fairseq_dlf.translation.measures.sharpened_likelihood import SharpenedLikelihood

__all__ = [
    "MEASURES",
    "DevSample",
    "GreedyBleu",
    "ReweightedBleu",
    "SampledBleu",
    "SharpenedLikelihood",
    "Terms",
    "TranslationMeasure",
    "measure_signature",
]
