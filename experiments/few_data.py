"""Few data: small LSTMs from new weights, by label smoothing, constant or moving along the run, by hand or taught."""

from experiments.options import DECODING, TRAINING, VALIDATION, words
from experiments.table import Column, Options, Row, Table, at

BATCH = 64
EPOCHS, VALIDATED = 48, 6
# What is tuned stands before what all students have, and may be said once only.
DROPOUT = words("--dropout 0.3")
SMOOTHED = DROPOUT + words("--criterion label_smoothed_cross_entropy")
SCHEDULED = DROPOUT + words("--criterion dlf_scheduled_smoothing")
RATE, HIGHER_RATE = 3e-3, 8e-3
LINES = ((0.9, 0.1), (0.7, 0.1), (0.9, 0.3), (0.7, 0.3), (0.95, 0.0), (0.5, 0.1))
# Teachers see the architecture of a student that has hardly begun.
SEEDLING = words(
    f"--optimizer adam --lr 3e-3 --dropout 0.3 --batch-size {BATCH} --max-update 1 --criterion cross_entropy"
)


def wide(width: int) -> Options:
    """Return the sizes of an LSTM."""
    sides = " ".join(f"--{side}-embed-dim {width} --{side}-hidden-size {width}" for side in ("encoder", "decoder"))
    return words(f"{sides} --decoder-out-embed-dim {width}")


def lasting(epochs: float, batches: int, batch: int = BATCH) -> Options:
    """Return options of a student's length, an eighth of which lies between validations.

    Args:
        batches: of an epoch, of `BATCH` sentences.
        batch: sentences of a batch.
    """
    # Not the end of an epoch, at which fairseq keeps no checkpoint of an interval, and averages would have none.
    interval = round(epochs * batches * BATCH / batch / (EPOCHS / VALIDATED)) + 1
    updates = interval * EPOCHS // VALIDATED
    return words(
        f"--batch-size {batch} --max-update {updates} --validate-interval 1000 "
        f"--validate-interval-updates {interval} --save-interval-updates {interval}"
    )


def few_data(
    name: str, title: str, prepare: str, batches: int, rows: tuple[Row, ...], columns: tuple[Column, ...]
) -> Table:
    """Return a table of trainings of 48 epochs.

    Args:
        prepare: what follows `dlf-prepare`, but for the folders.
        batches: of an epoch.
    """
    student = (
        "--task dlf_translation --expected-bleu-every 16 --optimizer adam --clip-norm 1.0 --lr-scheduler fixed "
        "--keep-interval-updates 3"
    )
    # Two numbers, the share of a uniform target at the beginning and at the end, from the usual 0.1: three trainings
    # of 16 epochs tell how BLEU of dev moves with each, and its sign is followed.
    teacher = (
        f"--task dlf_teaching --arch dlf_teacher --criterion dlf_teaching --student-start fresh --student-steps "
        f"{16 * batches} --student-optimizer adam --student-lr 3e-3 --student-clip-norm 1.0 --student-dropout 0.3 "
        f"--batch-size {BATCH} --form shares(linear=1,start=0.1) --teacher-kind schedule(knots=2) "
        "--estimator forward_differences(step=0.1) --measure greedy_bleu --measure-sentences 0 --optimizer dlf_rprop "
        "--lr 0.2 --max-update 6 --episodes-per-epoch 1"
    )
    return Table(
        name=name,
        title=title,
        prepare=words(prepare),
        rows=rows,
        columns=columns,
        baselines=("constant", "usual"),
        training=TRAINING,
        validation=VALIDATION,
        student=words(student) + lasting(EPOCHS, batches),
        teacher=words(teacher),
        decoding=DECODING,
        fresh=True,
    )


# Columns --------------------------------------------------------------------------

USUAL = Column(
    "usual",
    "smoothing 0.1",
    SMOOTHED + words("--label-smoothing 0.1"),
    tuple(at(lr=lr) for lr in (RATE, HIGHER_RATE)),
)
CONSTANT = Column(
    "constant",
    "smoothing, best constant",
    SMOOTHED,
    tuple(at(label_smoothing=epsilon, lr=lr) for epsilon in (0.0, 0.1, 0.3, 0.5, 0.7) for lr in (RATE, HIGHER_RATE)),
)
FALLING = Column(
    "falling",
    "smoothing, best falling line",
    SCHEDULED,
    tuple(at(label_smoothing=first, label_smoothing_end=last, lr=RATE) for first, last in LINES),
)
RISING = Column(
    "rising", "smoothing, rising line", SCHEDULED, (at(label_smoothing=0.1, label_smoothing_end=0.9, lr=RATE),)
)
TAUGHT = Column(
    "taught",
    "smoothing, taught line",
    DROPOUT + words("--criterion dlf --teacher TEACHER/checkpoint_best.pt"),
    (at(lr=RATE),),
)
R_DROP = Column(
    "r_drop",
    "R-Drop",
    DROPOUT + words("--criterion dlf_r_drop --label-smoothing 0.1"),
    tuple(at(r_drop_weight=weight, lr=RATE) for weight in (1, 3, 5, 10)),
)


def taught_long(batches: int) -> Column:
    """Return the column of a teacher whose episodes are as long as the student's run, not a third of it."""
    return Column(
        "taught_long",
        "smoothing, line taught over the whole run",
        TAUGHT.options,
        TAUGHT.settings,
        teacher=words(f"--student-steps {EPOCHS * batches} --lr 0.3 --max-update 5"),
    )


def explanations(batches: int) -> tuple[Column, ...]:
    """Return columns that ask whether something else does what the fall of smoothing does, on the first seed alone."""
    tuned, lr = (0.1, 0.5), (RATE, HIGHER_RATE)
    fall = (at(label_smoothing=0.9, label_smoothing_end=0.1, lr=RATE),)
    return (
        Column(
            "dropout",
            "constant smoothing, other dropout",
            SMOOTHED + words(f"--lr {RATE:g}"),
            tuple(at(label_smoothing=epsilon, dropout=rate) for epsilon in tuned for rate in (0.1, 0.5)),
            once=True,
        ),
        Column(
            "warm_up",
            "constant smoothing, rate warmed up",
            SMOOTHED + words("--warmup-updates 500"),
            tuple(at(label_smoothing=epsilon, lr=rate) for epsilon in tuned for rate in lr),
            once=True,
        ),
        Column(
            "batches",
            "constant smoothing, batches of 16",
            SMOOTHED,
            tuple(at(label_smoothing=epsilon, lr=rate) for epsilon in tuned for rate in (1e-3, RATE)),
            instead=lasting(EPOCHS, batches, batch=16),
            once=True,
        ),
        Column(
            "longer",
            "constant smoothing, 96 epochs",
            SMOOTHED,
            tuple(at(label_smoothing=epsilon, lr=RATE) for epsilon in (0.1, 0.3, 0.5, 0.7)),
            instead=lasting(96, batches),
            once=True,
        ),
        Column("falling_longer", "falling line, 96 epochs", SCHEDULED, fall, instead=lasting(96, batches), once=True),
        Column(
            "shorter",
            "constant smoothing, 16 epochs",
            SMOOTHED,
            tuple(at(label_smoothing=epsilon, lr=rate) for epsilon in tuned for rate in lr),
            instead=lasting(16, batches),
            once=True,
        ),
        Column("falling_shorter", "falling line, 16 epochs", SCHEDULED, fall, instead=lasting(16, batches), once=True),
    )
