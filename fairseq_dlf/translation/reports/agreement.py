"""How far teachers of several seeds agree."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, Optional

import torch
from torch import Tensor

from fairseq_dlf.translation.reports.layout import TYPE, layout_of
from fairseq_dlf.translation.reports.taught import TaughtTeacher
from fairseq_dlf.translation.reports.vocabulary import Vocabulary

# Coefficients that differ by less, in relation to their size, differ by rounding alone.
ROUNDING = 1e-6


class Agreement(NamedTuple):
    """Correlations of two teachers over the coefficients of one part of Φ.

    Attributes:
        first, second: labels.
        symbol: of the part.
        coefficients: how many were compared.
        means: correlation of Φ averaged over the run; None where a teacher's coefficients are all alike, or there are
            fewer than three.
        moves: the same of Φ_1 − Φ_0.
    """

    first: str
    second: str
    symbol: str
    coefficients: int
    means: Optional[float]
    moves: Optional[float]

    @property
    def chance(self) -> float:
        """Return the correlation that unrelated coefficients exceed in about one of twenty cases, by size."""
        return 2.0 / math.sqrt(self.coefficients)


def agreements(teachers: Sequence[TaughtTeacher], vocabulary: Vocabulary) -> list[Agreement]:
    """Return the agreement of every two teachers whose coefficients mean the same, part by part.

    The parts of a form are compared one by one: over all of them, the difference of their levels alone would correlate.
    """
    found = []
    for first, second in itertools.combinations(teachers, 2):
        if not comparable(first, second):
            continue
        layout = layout_of(first.form, len(vocabulary))
        for part in layout.parts:
            kept = vocabulary.occurs if layout.unit == TYPE else slice(None)
            means = [each.mean[part.places][kept] for each in (first, second)]
            moves = [each.moves[part.places][kept] for each in (first, second)]
            sizes = [float(each.phi[:, part.places].abs().max()) for each in (first, second)]
            of_both = correlation(means, sizes), correlation(moves, sizes)
            found.append(Agreement(first.label, second.label, part.symbol, len(means[0]), *of_both))
    return found


def comparable(first: TaughtTeacher, second: TaughtTeacher) -> bool:
    """Return whether the coefficients of two teachers stand for the same things; where they started may differ."""
    return type(first.form) is type(second.form) and first.phi.size(1) == second.phi.size(1)


def correlation(pair: Sequence[Tensor], sizes: Sequence[float]) -> Optional[float]:
    """Return Pearson's correlation of two vectors; None for fewer than three numbers, or where one does not vary.

    Args:
        pair: (n,) each.
        sizes: of the coefficients that each comes from: what varies by less than their rounding does not vary.
    """
    rows = torch.stack(list(pair)).double()
    if rows.size(1) < 3 or (rows.std(dim=1, correction=0) <= ROUNDING * torch.tensor(sizes)).any():
        return None
    return float(torch.corrcoef(rows)[0, 1])
