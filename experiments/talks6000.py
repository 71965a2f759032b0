"""6,000 pairs of talks (IWSLT14): an LSTM, by label smoothing, constant or moving along the run, by hand or taught."""

from experiments.few_data import CONSTANT, FALLING, R_DROP, SEEDLING, TAUGHT, USUAL, few_data, wide
from experiments.table import Row

TABLE = few_data(
    name="talks6000",
    title="6,000 pairs of talks (IWSLT14 German–English), an LSTM of width 128 from new weights, 48 epochs",
    prepare="parallel --tokenized --bpe-tokens 4000 --train-pairs 6000",
    batches=94,
    rows=(Row("lstm_dlf_1", "LSTM, 128 wide", (1,), SEEDLING, wide(128)),),
    columns=(USUAL, CONSTANT, FALLING, TAUGHT, R_DROP),
)
