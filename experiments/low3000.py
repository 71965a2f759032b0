"""Few data: 3,000 pairs of Multi30k and a small LSTM from new weights, by label smoothing, constant or moving."""

from experiments.options import DECODING, TRAINING, VALIDATION, words
from experiments.table import Column, Options, Row, Table, at

# 48 epochs of 47 batches, measured after every sixth.
UPDATES, INTERVAL = 2256, 282
# What is tuned stands before what all students have, and may be said once only.
DROPOUT = words("--dropout 0.3")
WIDTH = 128
SIZES = words(
    f"--encoder-embed-dim {WIDTH} --encoder-hidden-size {WIDTH} --decoder-embed-dim {WIDTH} "
    f"--decoder-hidden-size {WIDTH} --decoder-out-embed-dim {WIDTH}"
)
STUDENT = words(
    "--task dlf_translation --expected-bleu-every 16 --optimizer adam --clip-norm 1.0 "
    f"--lr-scheduler fixed --batch-size 64 --max-update {UPDATES} --validate-interval 1000 "
    f"--validate-interval-updates {INTERVAL} --save-interval-updates {INTERVAL} --keep-interval-updates 3"
)
# Teachers see the architecture of a student that has hardly begun.
SEEDLING = words("--optimizer adam --lr 3e-3 --dropout 0.3 --batch-size 64 --max-update 1 --criterion cross_entropy")
# Two numbers, the share of a uniform target at the beginning and at the end, from the usual 0.1: three trainings of 16
# epochs tell how BLEU of dev moves with each, and its sign is followed.
TEACHER = words(
    "--task dlf_teaching --arch dlf_teacher --criterion dlf_teaching --student-start fresh --student-steps 752 "
    "--student-optimizer adam --student-lr 3e-3 --student-clip-norm 1.0 --student-dropout 0.3 --batch-size 64 "
    "--form shares(linear=1,start=0.1) --teacher-kind schedule(knots=2) --estimator forward_differences(step=0.1) "
    "--measure greedy_bleu --measure-sentences 0 --optimizer dlf_rprop --lr 0.2 --max-update 6 --episodes-per-epoch 1"
)
SMOOTHED = DROPOUT + words("--criterion label_smoothed_cross_entropy")
SCHEDULED = DROPOUT + words("--criterion dlf_scheduled_smoothing")
RATES = (3e-3, 8e-3)


def lasting(updates: int, interval: int, more: str = "") -> Options:
    """Return options of students in place of the usual ones."""
    return words(
        f"--max-update {updates} --validate-interval-updates {interval} --save-interval-updates {interval} {more}"
    )


COLUMNS = (
    Column("usual", "smoothing 0.1", SMOOTHED + words("--label-smoothing 0.1"), tuple(at(lr=lr) for lr in RATES)),
    Column(
        "constant",
        "smoothing, best constant",
        SMOOTHED,
        tuple(at(label_smoothing=epsilon, lr=lr) for epsilon in (0.0, 0.1, 0.3, 0.5, 0.7) for lr in RATES),
    ),
    Column(
        "falling",
        "smoothing, best falling line",
        SCHEDULED,
        tuple(
            at(label_smoothing=first, label_smoothing_end=last, lr=3e-3)
            for first, last in ((0.9, 0.1), (0.7, 0.1), (0.9, 0.3), (0.7, 0.3), (0.95, 0.0), (0.5, 0.1))
        ),
    ),
    Column("rising", "smoothing, rising line", SCHEDULED, (at(label_smoothing=0.1, label_smoothing_end=0.9, lr=3e-3),)),
    Column(
        "taught",
        "smoothing, taught line",
        DROPOUT + words("--criterion dlf --teacher TEACHER/checkpoint_best.pt"),
        (at(lr=3e-3),),
    ),
    Column(
        "r_drop",
        "R-Drop",
        DROPOUT + words("--criterion dlf_r_drop --label-smoothing 0.1"),
        tuple(at(r_drop_weight=weight, lr=3e-3) for weight in (1, 3, 5, 10)),
    ),
    # Whether something else than the share of smoothing does what its fall does.
    Column(
        "dropout",
        "constant smoothing, other dropout",
        SMOOTHED + words("--lr 3e-3"),
        tuple(at(label_smoothing=epsilon, dropout=rate) for epsilon in (0.1, 0.5) for rate in (0.1, 0.5)),
        once=True,
    ),
    Column(
        "warm_up",
        "constant smoothing, rate warmed up",
        SMOOTHED + words("--warmup-updates 500"),
        tuple(at(label_smoothing=epsilon, lr=lr) for epsilon in (0.1, 0.5) for lr in RATES),
        once=True,
    ),
    Column(
        "batches",
        "constant smoothing, batches of 16",
        SMOOTHED,
        tuple(at(label_smoothing=epsilon, lr=lr) for epsilon in (0.1, 0.5) for lr in (1e-3, 3e-3)),
        instead=lasting(4 * UPDATES, 4 * INTERVAL, "--batch-size 16"),
        once=True,
    ),
    Column(
        "longer",
        "constant smoothing, 96 epochs",
        SMOOTHED,
        tuple(at(label_smoothing=epsilon, lr=3e-3) for epsilon in (0.1, 0.3, 0.5, 0.7)),
        instead=lasting(2 * UPDATES, 2 * INTERVAL),
        once=True,
    ),
    Column(
        "falling_longer",
        "smoothing, falling line, 96 epochs",
        SCHEDULED,
        (at(label_smoothing=0.9, label_smoothing_end=0.1, lr=3e-3),),
        instead=lasting(2 * UPDATES, 2 * INTERVAL),
        once=True,
    ),
    Column(
        "shorter",
        "constant smoothing, 16 epochs",
        SMOOTHED,
        tuple(at(label_smoothing=epsilon, lr=lr) for epsilon in (0.1, 0.5) for lr in RATES),
        instead=lasting(UPDATES // 3, INTERVAL // 3),
        once=True,
    ),
    Column(
        "falling_shorter",
        "smoothing, falling line, 16 epochs",
        SCHEDULED,
        (at(label_smoothing=0.9, label_smoothing_end=0.1, lr=3e-3),),
        instead=lasting(UPDATES // 3, INTERVAL // 3),
        once=True,
    ),
)

TABLE = Table(
    name="low3000",
    title="3,000 pairs of Multi30k German–English, an LSTM of width 128 from new weights, 48 epochs",
    prepare=words("multi30k --bpe-tokens 4000 --train-pairs 3000"),
    rows=(Row("lstm_dlf_1", "LSTM, 128 wide", (1, 2, 3), SEEDLING, SIZES),),
    columns=COLUMNS,
    baselines=("constant", "usual"),
    training=TRAINING,
    validation=VALIDATION,
    student=STUDENT,
    teacher=TEACHER,
    decoding=DECODING,
    fresh=True,
)
