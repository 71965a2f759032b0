#!/usr/bin/env bash
# The whole method on a generated corpus: minutes on two CPU cores. It shows that the pipeline works, not that scores
# improve.
set -euo pipefail

ABOUT="L2T-DLF on a small generated corpus: LSTM-1, 64 wide, in minutes on a CPU."
INPUT_HELP="  (no input: the corpus comes from recipes/toy_corpus.py)"
DEFAULT_OUT=runs/toy
PREPARE_STEPS=2

# Data and student
: "${PAIRS:=4000}"                   # two cores read them in seconds
: "${CORPUS_SEED:=1}"                # one corpus for all training seeds
: "${WIDTH:=64}"                     # a quarter of the paper's, for speed
: "${BPE_TOKENS:=300}"               # for a few hundred words, some of which are split
: "${ARCH:=lstm_dlf_1}"              # the paper's LSTM-1
: "${DROPOUT:=0.1}"                  # the grammar repeats itself: there is little to overfit
: "${LABEL_SMOOTHING:=0.1}"          # usual for cross-entropy, the baseline to beat
: "${CLIP_NORM:=1.0}"                # usual for LSTMs
STUDENT_SIZES=(--encoder-embed-dim "$WIDTH" --encoder-hidden-size "$WIDTH" --decoder-embed-dim "$WIDTH")
STUDENT_SIZES+=(--decoder-hidden-size "$WIDTH" --decoder-out-embed-dim "$WIDTH")

# Warm start: cross-entropy
: "${WARM_LR:=5e-3}"                 # narrow networks tolerate greater rates
: "${WARM_EPOCHS:=10}"               # greedy dev BLEU is about 40 and hardly rises
: "${WARM_ANNEAL_EPOCH:=6}"          # four epochs to settle
: "${WARM_LR_SHRINK:=0.6}"           # per epoch from there on
: "${WARM_MAX_TOKENS:=600}"          # about 25 pairs: more updates in less time

# Teacher
: "${TEACH_EPISODES:=10}"            # take minutes, not hours
: "${TEACH_LR:=1e-2}"                # few episodes have to suffice
: "${TEACH_STEPS:=20}"               # take minutes, not hours
: "${TEACH_TRUNCATE:=0}"             # the whole episode is reversed: short windows mislead
# The update rule and the clipping that the students are trained with.
: "${TEACH_STUDENT_OPTIMIZER:=momentum}"
: "${TEACH_STUDENT_LR:=0.1}"         # the taught student's
: "${TEACH_CLIP_NORM:=1.0}"          # the students'
: "${MEASURE_SENTENCES:=32}"         # of the 200 of dev
: "${CANDIDATES:=4}"                 # half the usual number
: "${GREEDY_SENTENCES:=100}"         # half of dev
: "${PROGRESS_SENTENCES:=50}"        # cheap, but noisy
: "${EPISODES_PER_EPOCH:=5}"         # two teachers to choose between

TEACH_MORE=()                        # no further options

# Students: same warm start, same updates, rates not tuned
: "${STUDENT_UPDATES:=250}"          # two epochs
: "${STUDENT_VALIDATE_EVERY:=125}"   # two checkpoints to choose from
: "${BATCH_SIZE:=32}"                # paper, section 5.2
: "${MOMENTUM:=0.9}"                 # as in the image experiments of the paper
: "${CROSS_ENTROPY_LR:=0.1}"         # narrow networks tolerate greater rates
: "${CONSTANT_LR:=0.1}"              # narrow networks tolerate greater rates
: "${TAUGHT_LR:=$CONSTANT_LR}"       # coefficients start from 1, so constant's rate fits
: "${CE_SHARE:=0}"                   # the paper's loss alone
: "${PROGRESS_INTERVAL:=50}"         # five measurements

# Test
: "${BEAM:=5}"                       # usual in translation
: "${GENERATE_MAX_TOKENS:=4000}"     # fits in any memory
# Stands under the table, so that nobody who sees it alone takes it for a result.
: "${COMPARISON_NOTE:=A toy: sentences of a generated grammar, students trained for minutes, rates that were not tuned. \
This table shows that the pipeline runs end to end; it is not evidence that one loss is better than another.}"

check_input() {
    :
}

prepare_data() {
    run_step corpus - "$python" "$ROOT/recipes/toy_corpus.py" --out "$out/corpus" --pairs "$PAIRS" \
        --seed "$CORPUS_SEED"
    run_step prepare - "$scripts/dlf-prepare" parallel --raw "$out/corpus" --out "$out/data" \
        --bpe-tokens "$BPE_TOKENS"
}

# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
run_recipe "$@"
