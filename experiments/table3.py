"""Table 3: the losses that the paper compares with, and those that users compare with today, on Multi30k."""

from experiments.options import DECODING, TRAINING, VALIDATION, rates, words
from experiments.table import Column, Row, Table, at

# Warm starts: as in recipes/multi30k.sh.
WARM = words("--dropout 0.3 --criterion label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer adam")
WARM_LSTM = WARM + words(
    "--lr 2e-3 --clip-norm 1.0 --lr-scheduler fixed --force-anneal 12 --lr-shrink 0.6 --max-epoch 18 --max-tokens 2000"
)
WARM_TRANSFORMER = WARM + words(
    "--lr 1e-3 --clip-norm 1.0 --lr-scheduler inverse_sqrt --warmup-updates 1000 --max-epoch 20 --max-tokens 2000"
)
# An epoch, but for its last update: the end of an epoch would be one more validation, which the interval of epochs
# leaves out. The rate falls over the last third.
UPDATES = 906
STUDENT = words(
    "--task dlf_translation --expected-bleu-every 16 --dropout 0.3 --optimizer sgd --momentum 0 --clip-norm 1.0 "
    f"--lr-scheduler dlf_linear_tail --batch-size 32 --max-update {UPDATES} --validate-interval 1000 "
    "--validate-interval-updates 151 --save-interval-updates 151 --keep-interval-updates 3"
)
# As in recipes/multi30k.sh.
TEACHER = words(
    "--task dlf_teaching --arch dlf_teacher --criterion dlf_teaching --student-start warm --student-steps 60 "
    "--truncate 0 --student-optimizer sgd --student-lr 3.0 --student-clip-norm 0 --measure-sentences 128 "
    "--candidates 8 --greedy-sentences 0 --progress-sentences 200 --episodes-per-epoch 3 --ce-share 0 --batch-size 32 "
    "--optimizer adam --lr 0.1 --max-update 6"
)

# Captions are hardly ever longer than that; every word of the bound costs time.
SEQUENCE = "--sequence-max-len-a 1.2 --sequence-max-len-b 5"
SMOOTHINGS = tuple(at(label_smoothing=epsilon, lr=lr) for epsilon, lr in ((0.1, 1), (0.1, 3), (0.2, 1), (0.3, 1)))
SHARE = {"ce_share": 0.4, "label_smoothing": 0.1}

COLUMNS = (
    Column("cross_entropy", "cross-entropy", words("--criterion cross_entropy"), rates(0.3, 1, 0.1, 3, 0.03)),
    Column(
        "smoothed",
        "cross-entropy, smoothed",
        words("--criterion label_smoothed_cross_entropy"),
        (*SMOOTHINGS, at(label_smoothing=0.2, lr=0.3), at(label_smoothing=0.2, lr=3)),
    ),
    Column(
        "reinforce",
        "REINFORCE",
        words(f"--criterion dlf_sequence_reinforce {SEQUENCE}"),
        (*rates(0.3, 1, 0.1), at(**SHARE, lr=1)),
    ),
    Column(
        "risk",
        "minimum risk",
        words(f"--criterion dlf_sequence_risk {SEQUENCE}"),
        # The gradient is a twentieth of cross-entropy's, so that a tenth of the latter weighs more.
        (*rates(10, 30), at(sequence_method="beam", lr=10), at(ce_share=0.1, label_smoothing=0.1, lr=10), at(lr=3)),
    ),
    Column(
        "actor_critic",
        "actor-critic",
        # With the published target rate of 0.001 and without a trace, the critic learns nothing within an epoch.
        words(
            f"--criterion dlf_actor_critic --critic-pretraining {UPDATES} --critic-target-rate 0.1 --critic-trace 0.9 "
            f"--critic-width 128 {SEQUENCE}"
        ),
        # What the critic says of words that were not sampled is held by the penalty alone.
        (*rates(0.3, 1, 0.1), at(**SHARE, lr=1), at(critic_penalty=0.03, lr=0.3)),
        # The critic learns alone for an epoch; the student's updates are as many as with other losses, and its rate
        # falls over the last third of them.
        instead=words(f"--max-update {2 * UPDATES} --tail-share {1 / 6:.4f}"),
    ),
    Column(
        "margin",
        "softmax-margin",
        words(f"--criterion dlf_softmax_margin {SEQUENCE}"),
        (*rates(0.3, 1), at(margin_score="log-prob", lr=1), at(**SHARE, lr=1)),
    ),
    Column(
        "r_drop",
        "R-Drop",
        words("--criterion dlf_r_drop --label-smoothing 0.1"),
        tuple(
            at(r_drop_weight=weight, lr=lr)
            for weight, lr in ((1, 1), (3, 1), (5, 1), (1, 3), (0.3, 1), (1, 0.3), (0.1, 1))
        ),
    ),
    Column(
        "constant",
        "constant Φ",
        words("--criterion dlf --ce-share 0 --coefficients 1.0"),
        rates(3, 1, 10, 0.3, 30),
    ),
    Column(
        "taught",
        "taught Φ",
        words("--criterion dlf --ce-share 0 --progress-sentences 200 --teacher TEACHER/checkpoint_best.pt"),
        rates(3, 1, 10, 0.3),
    ),
    Column(
        "self_distillation",
        "self-distillation",
        words("--criterion dlf_self_distillation --distillation-from-start"),
        tuple(at(distillation_weight=weight, lr=lr) for weight, lr in ((0.8, 1), (0.5, 1), (0.8, 3), (0.8, 0.3))),
        once=True,
    ),
    Column(
        "sparse_smoothing",
        "sparse smoothing",
        words("--criterion dlf_sparse_smoothing"),
        SMOOTHINGS,
        once=True,
    ),
    # The paper's cross-entropy knows no smoothing at any time.
    Column(
        "never_smoothed",
        "cross-entropy, never smoothed",
        words("--criterion cross_entropy"),
        rates(0.3, 1, 0.1, 3),
        warm=words("--label-smoothing 0"),
        once=True,
    ),
)

TABLE = Table(
    name="table3",
    title=f"Losses on Multi30k German–English, after the same warm start and {UPDATES} further updates",
    prepare=words("multi30k --bpe-tokens 4000"),
    rows=(
        Row("lstm_dlf_1", "LSTM-1", (1, 2, 3), WARM_LSTM),
        Row("lstm_dlf_2", "LSTM-2", (1,), WARM_LSTM),
        Row("transformer_dlf_small", "Transformer", (1,), WARM_TRANSFORMER),
    ),
    columns=COLUMNS,
    baselines=("smoothed", "cross_entropy"),
    training=TRAINING,
    validation=VALIDATION,
    student=STUDENT,
    teacher=TEACHER,
    decoding=DECODING,
)
