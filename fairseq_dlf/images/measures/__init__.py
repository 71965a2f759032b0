"""Smoothed measures of students of images, one file each; importing this package registers them all."""

from fairseq_dlf.images.measures.expected_accuracy import ExpectedAccuracy
from fairseq_dlf.images.measures.measure import MEASURES, ImageMeasure

__all__ = ["MEASURES", "ExpectedAccuracy", "ImageMeasure"]
