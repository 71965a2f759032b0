"""3,000 pairs of Multi30k and an LSTM of width 128: the falling share of smoothing, and what else could explain it."""

from experiments.few_data import (
    CONSTANT,
    FALLING,
    R_DROP,
    RISING,
    SEEDLING,
    TAUGHT,
    USUAL,
    explanations,
    few_data,
    taught_long,
    wide,
)
from experiments.table import Row

BATCHES = 47

TABLE = few_data(
    name="low3000",
    title="3,000 pairs of Multi30k German–English, an LSTM of width 128 from new weights, 48 epochs",
    prepare="multi30k --bpe-tokens 4000 --train-pairs 3000",
    batches=BATCHES,
    rows=(Row("lstm_dlf_1", "LSTM, 128 wide", (1, 2, 3), SEEDLING, wide(128)),),
    columns=(USUAL, CONSTANT, FALLING, RISING, TAUGHT, taught_long(BATCHES), R_DROP, *explanations(BATCHES)),
)
