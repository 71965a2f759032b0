"""Records of pairs that no training has made."""

from experiments.choice.records import Figures, Move, PairRecord, Seconds, Side
from experiments.records import Data, Machine


def move(share: float = 0.2) -> Move:
    ahead, back = Side(0.012, 0.5, (0.1, 0.9)), Side(-0.008, -0.25, (-0.7, 0.2))
    return Move(share, share / 2, 0.011, 0.009, ahead, back, 0.375, (0.0625, 0.6875))


def pair(form: str = "diagonal", measure: str = "sampled_bleu", cosine: float | None = 0.25) -> PairRecord:
    figures = Figures(
        coefficients=1234,
        sentences=(8, 8, 20),
        values=(0.5, 0.4),
        cosine=cosine,
        cosines=(None, 0.1, 0.3),
        leverage=(0.3, 0.2),
        growth=(1.5, 2.5),
        bleu_before=30.0,
        bleu_neutral=30.5,
        moves=(move(0.1), move(0.2)),
        control=move(0.2),
        seconds=Seconds(10.0, 21.25, 3.0),
    )
    machine = Machine("a processor", 2, 1, {"torch": "2.0"})
    return PairRecord(form, measure, "a command", "abc", "choice|seed:1", Data("feed", 20), machine, figures)
