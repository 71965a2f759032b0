"""A table of minutes on the toy corpus: two losses of two settings, two seeds.

python -m tests.experiments.toy_table toy --raw DIR --out DIR --results DIR
"""

import sys

from experiments.command_line import main
from experiments.table import Column, Row, Table, at
from experiments.table3 import VALIDATION, words

SIZES = words(
    "--encoder-embed-dim 32 --encoder-hidden-size 32 --decoder-embed-dim 32 --decoder-hidden-size 32 "
    "--decoder-out-embed-dim 32"
)
WARM = words(
    "--dropout 0.1 --criterion label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer adam --lr 1e-2 "
    "--clip-norm 1.0 --lr-scheduler fixed --max-epoch 6 --max-tokens 600"
)
STUDENT = words(
    "--task dlf_translation --expected-bleu-every 8 --dropout 0.1 --optimizer sgd --momentum 0 --clip-norm 1.0 "
    "--lr-scheduler dlf_linear_tail --batch-size 16 --max-update 18 --validate-interval 1000 "
    "--validate-interval-updates 6 --save-interval-updates 6 --keep-interval-updates 2"
)
TABLE = Table(
    name="toy",
    title="A toy",
    prepare=words("parallel --bpe-tokens 100"),
    rows=(Row("lstm_dlf_1", "LSTM-1", (1, 2), WARM, SIZES),),
    columns=(
        Column("plain", "cross-entropy", words("--criterion cross_entropy"), (at(lr=0.5), at(lr=0.1))),
        Column("constant", "constant Φ", words("--criterion dlf --coefficients 1.0"), (at(lr=1), at(lr=3))),
    ),
    baselines=("plain",),
    training=words(
        "--no-epoch-checkpoints --num-workers 0 --log-format json --log-interval 2 "
        "--best-checkpoint-metric bleu --maximize-best-checkpoint-metric"
    ),
    validation=VALIDATION,
    student=STUDENT,
    teacher=(),
    decoding=words("--remove-bpe --max-tokens 4000 --required-batch-size-multiple 1 --num-workers 0"),
    beam=2,
    last=2,
)

if __name__ == "__main__":
    sys.exit(main(tables={"toy": TABLE}))
