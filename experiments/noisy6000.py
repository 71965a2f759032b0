"""6,000 pairs of Multi30k, 30 % of them with the target of another: what a loss makes of targets that are wrong."""

from experiments.few_data import CONSTANT, DROPOUT, FALLING, RATE, SEEDLING, TAUGHT, USUAL, few_data, wide
from experiments.options import words
from experiments.table import Column, Row, at

# The slope of −σ(log p) vanishes for what a student finds impossible. By this loss alone it learns nothing from new
# weights: a share of smoothed cross-entropy comes first.
CONSTANT_PHI = Column(
    "constant_phi",
    "constant Φ and a share of cross-entropy",
    DROPOUT + words("--criterion dlf --label-smoothing 0.1"),
    tuple(at(ce_share=share, coefficients=phi, lr=RATE) for share in (0.1, 0.3) for phi in (1, 3)),
)

TABLE = few_data(
    name="noisy6000",
    title="6,000 pairs of Multi30k German–English, 30 % of them misaligned, an LSTM of width 128, 48 epochs",
    prepare="multi30k --bpe-tokens 4000 --train-pairs 6000 --misaligned 0.3",
    batches=94,
    rows=(Row("lstm_dlf_1", "LSTM, 128 wide", (1, 2, 3), SEEDLING, wide(128)),),
    columns=(USUAL, CONSTANT, FALLING, TAUGHT, CONSTANT_PHI),
)
