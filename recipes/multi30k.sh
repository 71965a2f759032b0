#!/usr/bin/env bash
# Multi30k German-English with LSTM-1: hours on two CPU cores, minutes on a GPU.
set -euo pipefail

ABOUT="L2T-DLF on Multi30k German-English: LSTM-1 of the paper, 256 wide."
INPUT_HELP="  --raw DIR        folder of train, val and test_2016_flickr (.de and .en, or .gz); required"
DEFAULT_OUT=runs/multi30k
PREPARE_STEPS=1

# Data and student
: "${BPE_TOKENS:=4000}"              # 29,000 short captions: the paper's 25,000 would keep whole words
: "${ARCH:=lstm_dlf_1}"              # the paper's LSTM-1
: "${DROPOUT:=0.3}"                  # without dropout, students memorise this small corpus
: "${LABEL_SMOOTHING:=0.1}"          # usual for cross-entropy, the baseline to beat
: "${CLIP_NORM:=1.0}"                # usual for LSTMs
STUDENT_SIZES=()                     # the sizes of the architecture

# Warm start: cross-entropy until another epoch gains nothing
: "${WARM_LR:=2e-3}"                 # twice Adam's usual rate, which narrow networks tolerate
: "${WARM_EPOCHS:=18}"               # six after the rate begins to fall
: "${WARM_ANNEAL_EPOCH:=12}"         # dev BLEU rises more slowly from about this epoch on
: "${WARM_LR_SHRINK:=0.6}"           # per epoch: 5 % of the rate is left at the end
: "${WARM_MAX_TOKENS:=2000}"         # about 105 pairs

# Teacher
: "${TEACH_EPISODES:=6}"             # about a minute each on one core; the paper's 50 take an hour
: "${TEACH_LR:=0.1}"                 # six steps move a coefficient by up to 0.6; the paper's 1e-4 hardly moves it
: "${TEACH_STEPS:=60}"               # student updates in an episode: what six minutes can afford
: "${TEACH_TRUNCATE:=0}"             # the whole episode is reversed: short windows mislead
# The update rule that the students are trained with; gradients of the dynamic loss are too small to be clipped.
: "${TEACH_STUDENT_OPTIMIZER:=sgd}"
: "${TEACH_STUDENT_LR:=3.0}"         # the taught student's
: "${TEACH_CLIP_NORM:=0}"            # see above
: "${MEASURE_SENTENCES:=128}"        # of the 1,014 of dev: what an episode can afford
: "${CANDIDATES:=8}"                 # for each of them; minimum-risk training takes 8 to 100
: "${GREEDY_SENTENCES:=0}"           # all of dev chooses the teacher
: "${PROGRESS_SENTENCES:=200}"       # a fifth of dev: the measurement must stay cheap
: "${EPISODES_PER_EPOCH:=3}"         # two teachers to choose from

# --candidate-reference makes hypergradients agree better, but lowered greedy BLEU (see RESULTS.md).
TEACH_MORE=()

# Students: same warm start, same updates; the rate of each baseline is the best of four on dev
: "${STUDENT_UPDATES:=1812}"         # two epochs
: "${STUDENT_VALIDATE_EVERY:=604}"   # a third of the run
: "${BATCH_SIZE:=32}"                # paper, section 5.2
: "${MOMENTUM:=0}"                   # the paper trains translation by plain SGD
: "${CROSS_ENTROPY_LR:=1.0}"         # best of 0.1, 0.3, 1, 3 on dev, seed 1
: "${CONSTANT_LR:=3.0}"              # best of 0.3, 1, 3, 10 on dev, seed 1
: "${TAUGHT_LR:=$CONSTANT_LR}"       # coefficients start from 1, so constant's rate fits
: "${CE_SHARE:=0}"                   # the paper's loss alone
: "${PROGRESS_INTERVAL:=0}"          # BLEU for the teacher is measured once an epoch

# Test
: "${BEAM:=5}"                       # usual in translation
: "${GENERATE_MAX_TOKENS:=4000}"     # fits in any memory

check_input() {
    [ -n "$raw" ] || fail "--raw is missing: pass the folder of the raw text"
    [ -d "$raw" ] || fail "there is no folder $raw: pass --raw the folder of the raw text"
}

prepare_data() {
    run_step prepare - "$scripts/dlf-prepare" multi30k --raw "$raw" --out "$out/data" \
        --bpe-tokens "$BPE_TOKENS"
}

# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
run_recipe "$@"
