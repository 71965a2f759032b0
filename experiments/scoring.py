"""Scores of what fairseq-generate printed, and the statistics from which any two outputs can be compared later."""

import logging
from pathlib import Path

from sacrebleu.metrics import BLEU

from experiments.records import Decoding
from fairseq_dlf.core.support.digests import digest
from fairseq_dlf.translation.bleu.statistics import Statistics, sentence_statistics
from fairseq_dlf.translation.tools.comparison import compare
from fairseq_dlf.translation.tools.comparison_settings import ScoreSettings, System
from fairseq_dlf.translation.tools.generated import read_generated, read_references
from fairseq_dlf.translation.tools.outputs import detokenised

DIGITS = 16


def decoding(generated: Path, references: Path, language: str, command: str, commit: str) -> Decoding:
    """Score an output on test as dlf-compare does.

    Args:
        generated: what fairseq-generate printed.
        references: raw, one a line.
        language: what the output is detokenised for.
        command: what made it, with placeholders.
        commit: of the code that made it.

    Raises:
        MissingFileError: a file is not there.
        InputError: the output does not fit the references.
    """
    # sacrebleu warns of tokenised input, which is what the tokenised column is.
    logging.getLogger("sacrebleu").setLevel(logging.ERROR)
    settings = ScoreSettings(target_lang=language)
    found = compare([System("system", (generated,))], "system", references, settings)
    run = found.systems[0].runs[0]
    hypotheses = read_generated(generated, found.sentences, settings.bpe).hypotheses
    return Decoding(
        command=command,
        commit=commit,
        sentences=found.sentences,
        bleu=run.bleu,
        interval_95=run.interval_95,
        signature=found.signature,
        tokenised_bleu=run.tokenised_bleu,
        tokenised_signature=found.tokenised_signature,
        hypotheses=digest("\n".join(hypotheses), DIGITS),
    )


def statistics_of(generated: Path, references: Path, language: str) -> Statistics:
    """Return the statistics of detokenised, lower-cased BLEU for each sentence: [sentences, 10]."""
    wanted = read_references(references)
    settings = ScoreSettings(target_lang=language)
    hypotheses = read_generated(generated, len(wanted), settings.bpe).hypotheses
    return sentence_statistics(BLEU(lowercase=True), detokenised(hypotheses, language), wanted)
