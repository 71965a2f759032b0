"""6,000 pairs of Multi30k: two LSTMs, by label smoothing, constant or moving along the run, by hand or taught."""

from experiments.few_data import CONSTANT, FALLING, R_DROP, SEEDLING, TAUGHT, USUAL, few_data, wide
from experiments.table import Row

TABLE = few_data(
    name="low6000",
    title="6,000 pairs of Multi30k German–English, LSTMs from new weights, 48 epochs",
    prepare="multi30k --bpe-tokens 4000 --train-pairs 6000",
    batches=94,
    rows=(
        Row("lstm_128", "LSTM, 128 wide", (1, 2, 3), SEEDLING, wide(128), "lstm_dlf_1"),
        Row("lstm_dlf_1", "LSTM-1", (1,), SEEDLING),
    ),
    columns=(USUAL, CONSTANT, FALLING, TAUGHT, R_DROP),
)
