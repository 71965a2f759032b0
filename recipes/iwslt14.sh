#!/usr/bin/env bash
# IWSLT14 German-English, the paper's corpus; it needs a GPU.
set -euo pipefail

ABOUT="L2T-DLF on IWSLT14 German-English: LSTM-1 of the paper (or ARCH=lstm_dlf_2, transformer_dlf_small)."
INPUT_HELP="  --archive FILE   de-en.tgz (default: download it)"
DEFAULT_OUT=runs/iwslt14
PREPARE_STEPS=1

# Data and student
: "${BPE_TOKENS:=25000}"             # paper, section 5.2
: "${ARCH:=lstm_dlf_1}"              # the paper's LSTM-1
: "${DROPOUT:=0.3}"                  # as fairseq's recipe for this corpus
: "${LABEL_SMOOTHING:=0.1}"          # usual for cross-entropy, the baseline to beat
: "${CLIP_NORM:=1.0}"                # usual for LSTMs
STUDENT_SIZES=()                     # the sizes of the architecture

# Warm start: cross-entropy until another epoch gains nothing
: "${WARM_LR:=1e-3}"                 # five times as much data as Multi30k: half of its rate is enough
: "${WARM_EPOCHS:=20}"               # choose it by dev BLEU on your machine
: "${WARM_ANNEAL_EPOCH:=12}"         # when dev BLEU rises more slowly
: "${WARM_LR_SHRINK:=0.6}"           # per epoch from there on
: "${WARM_MAX_TOKENS:=4000}"         # fairseq's own recipe for this corpus

# Teacher
: "${TEACH_EPISODES:=50}"            # paper, section 5.2
: "${TEACH_LR:=0.05}"                # as for Multi30k; the paper's 1e-4 moves a coefficient by 0.005 at most
: "${TEACH_STEPS:=200}"              # student updates in an episode
: "${TEACH_TRUNCATE:=0}"             # the whole episode is reversed: short windows mislead
# The update rule that the students are trained with.
: "${TEACH_STUDENT_OPTIMIZER:=sgd}"
: "${TEACH_STUDENT_LR:=3.0}"         # the taught student's
: "${TEACH_CLIP_NORM:=0}"            # gradients of the dynamic loss are too small to be clipped
: "${MEASURE_SENTENCES:=128}"        # of the 7,283 of dev: what an episode can afford
: "${CANDIDATES:=8}"                 # for each of them; minimum-risk training takes 8 to 100
: "${GREEDY_SENTENCES:=1000}"        # of the 7,283 of dev
: "${PROGRESS_SENTENCES:=200}"       # the measurement must stay cheap
: "${EPISODES_PER_EPOCH:=10}"        # five teachers to choose from

TEACH_MORE=()                        # no further options

# Students: same warm start, same updates, tune the rates on dev with the same number of runs each
: "${STUDENT_UPDATES:=15030}"        # three epochs
: "${STUDENT_VALIDATE_EVERY:=2505}"  # half an epoch
: "${BATCH_SIZE:=32}"                # paper, section 5.2
: "${MOMENTUM:=0}"                   # the paper trains translation by plain SGD
: "${CROSS_ENTROPY_LR:=1.0}"         # as for Multi30k; tune on dev
: "${CONSTANT_LR:=3.0}"              # as for Multi30k; tune on dev
: "${TAUGHT_LR:=$CONSTANT_LR}"       # coefficients start from 1, so constant's rate fits
: "${CE_SHARE:=0}"                   # the paper's loss alone
: "${PROGRESS_INTERVAL:=500}"        # updates between two measurements of BLEU for the teacher

# Test
: "${BEAM:=5}"                       # usual in translation
: "${GENERATE_MAX_TOKENS:=4000}"     # fits in any memory

check_input() {
    [ -z "$archive" ] || [ -f "$archive" ] || fail "there is no archive $archive: pass --archive de-en.tgz"
}

prepare_data() {
    run_step prepare - bash "$ROOT/prepare-iwslt14.sh" ${archive:+--archive "$archive"} --out "$out/data" \
        --bpe-tokens "$BPE_TOKENS" --python "$python"
}

# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
run_recipe "$@"
