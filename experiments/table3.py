"""Table 3: the losses that the paper compares with, and those that users compare with today, on Multi30k."""

from experiments.table import Column, Options, Row, Setting, Table, at

SMOOTHED = ("--criterion", "label_smoothed_cross_entropy")
VALIDATION = (
    "--eval-bleu",
    "--eval-bleu-args",
    '{"beam": 1}',
    "--eval-bleu-remove-bpe",
    "--eval-tokenized-bleu",
)


def words(text: str) -> Options:
    """Split options at spaces."""
    return tuple(text.split())


def rates(*values: float) -> tuple[Setting, ...]:
    """Return a setting for each learning rate."""
    return tuple(at(lr=value) for value in values)


def sequence_loss(name: str, title: str, criterion: str) -> Column:
    """Return the column of a loss with all its defaults."""
    return Column(name, title, ("--criterion", criterion), rates(0.3, 1, 0.1, 3))


# Warm starts: as in recipes/multi30k.sh.
WARM = words("--dropout 0.3 --criterion label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer adam")
WARM_LSTM = WARM + words(
    "--lr 2e-3 --clip-norm 1.0 --lr-scheduler fixed --force-anneal 12 --lr-shrink 0.6 --max-epoch 18 --max-tokens 2000"
)
WARM_TRANSFORMER = WARM + words(
    "--lr 1e-3 --clip-norm 1.0 --lr-scheduler inverse_sqrt --warmup-updates 1000 --max-epoch 20 --max-tokens 2000"
)
# Two epochs of 907 updates, but for the last two updates. The end of an epoch comes one update after a validation:
# the interval of epochs leaves it out, which saves a validation in seven.
STUDENT = words(
    "--task dlf_translation --expected-bleu-every 8 --dropout 0.3 --optimizer sgd --momentum 0 --clip-norm 1.0 "
    "--lr-scheduler dlf_linear_tail --batch-size 32 --max-update 1812 --validate-interval 1000 "
    "--validate-interval-updates 302 --save-interval-updates 302 --keep-interval-updates 3"
)
# As in recipes/multi30k.sh.
TEACHER = words(
    "--task dlf_teaching --arch dlf_teacher --criterion dlf_teaching --student-start warm --student-steps 60 "
    "--truncate 0 --student-optimizer sgd --student-lr 3.0 --student-clip-norm 0 --measure-sentences 128 "
    "--candidates 8 --greedy-sentences 0 --progress-sentences 200 --episodes-per-epoch 3 --ce-share 0 --batch-size 32 "
    "--optimizer adam --lr 0.1 --max-update 6"
)

COLUMNS = (
    Column("cross_entropy", "cross-entropy", ("--criterion", "cross_entropy"), rates(0.3, 1, 0.1, 3)),
    Column(
        "smoothed",
        "cross-entropy, smoothed",
        SMOOTHED,
        (
            at(label_smoothing=0.1, lr=1),
            at(label_smoothing=0.2, lr=1),
            at(label_smoothing=0.3, lr=1),
            at(label_smoothing=0.1, lr=0.3),
        ),
    ),
    sequence_loss("reinforce", "REINFORCE", "dlf_sequence_reinforce"),
    sequence_loss("risk", "minimum risk", "dlf_sequence_risk"),
    sequence_loss("actor_critic", "actor-critic", "dlf_actor_critic"),
    sequence_loss("margin", "softmax-margin", "dlf_softmax_margin"),
    sequence_loss("r_drop", "R-Drop", "dlf_r_drop"),
    sequence_loss("self_distillation", "self-distillation", "dlf_self_distillation"),
    sequence_loss("sparse_smoothing", "sparse smoothing", "dlf_sparse_smoothing"),
    Column("constant", "constant Φ", words("--criterion dlf --ce-share 0 --coefficients 1.0"), rates(3, 1, 10, 0.3)),
    Column(
        "taught",
        "taught Φ",
        words("--criterion dlf --ce-share 0 --progress-sentences 200 --teacher TEACHER/checkpoint_best.pt"),
        rates(3, 1, 10, 0.3),
    ),
)

TABLE = Table(
    name="table3",
    title="Losses on Multi30k German–English, after the same warm start and 1,812 further updates",
    prepare=words("multi30k --bpe-tokens 4000"),
    rows=(
        Row("lstm_dlf_1", "LSTM-1", (1, 2, 3), WARM_LSTM),
        Row("lstm_dlf_2", "LSTM-2", (1,), WARM_LSTM),
        Row("transformer_dlf_small", "Transformer", (1,), WARM_TRANSFORMER),
    ),
    columns=COLUMNS,
    baselines=("smoothed", "cross_entropy"),
    training=words(
        "--no-epoch-checkpoints --num-workers 0 --log-format json --log-interval 100 "
        "--best-checkpoint-metric bleu --maximize-best-checkpoint-metric"
    ),
    validation=VALIDATION,
    student=STUDENT,
    teacher=TEACHER,
    # With its default multiple of 8, fairseq leaves out up to seven sentences.
    decoding=words("--remove-bpe --max-tokens 4000 --required-batch-size-multiple 1 --num-workers 0"),
)
