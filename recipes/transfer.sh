#!/usr/bin/env bash
# Multi30k German-English: a teacher is taught where a whole training takes minutes, on a small student and few pairs,
# and used for a large student and all pairs. It chooses the share of a uniform target (label smoothing) along the run,
# two numbers that fit any dictionary and any student.
set -euo pipefail

ABOUT="Transfer on Multi30k German-English: taught on a small LSTM and few pairs, used for LSTM-1 and all of them."
INPUT_HELP="  --raw DIR        folder of train, val and test_2016_flickr (.de and .en, or .gz); required"
STEPS="two preparations, the small student's architecture, teacher, two large students with the same number of
updates (constant smoothing, taught smoothing), generation, comparison."
DEFAULT_OUT=runs/transfer
PREPARE_STEPS=2
STEPS_OF_A_SEED=6
STUDENTS=(constant taught)
BASELINE=constant

# Where it is taught
: "${SMALL_PAIRS:=3000}"             # a tenth
: "${SMALL_WIDTH:=128}"              # half of LSTM-1's
: "${SMALL_LR:=3e-3}"                # best of 3e-3 and 8e-3 on dev
: "${TEACH_STEPS:=752}"              # 16 epochs of the small corpus, from new weights
: "${TEACH_EPISODES:=6}"             # each trains three small students
: "${TEACH_LR:=0.2}"                 # a share moves by this much, and by half where the sign of its gradient turns
: "${DIFFERENCE:=0.1}"               # far above the noise of greedy BLEU

# Where it is used
: "${LARGE_PAIRS:=0}"                # all 29,000
: "${ARCH:=lstm_dlf_1}"              # the paper's LSTM-1
: "${LARGE_LR:=2e-3}"                # as for the warm start of multi30k.sh
: "${STUDENT_UPDATES:=5436}"         # twelve epochs of 453 batches
: "${STUDENT_VALIDATE_EVERY:=453}"   # each epoch

# Both
: "${BPE_TOKENS:=4000}"              # as in multi30k.sh; the smaller corpus has fewer
: "${DROPOUT:=0.3}"                  # without dropout, students memorise these small corpora
: "${BATCH_SIZE:=64}"                # 47 batches of the small corpus
: "${CLIP_NORM:=1.0}"                # usual for LSTMs
: "${LABEL_SMOOTHING:=0.1}"          # usual: where teaching starts, and the baseline

# Test
: "${BEAM:=5}"                       # usual in translation
: "${GENERATE_MAX_TOKENS:=4000}"     # fits in any memory

check_input() {
    [ -n "$raw" ] || fail "--raw is missing: pass the folder of the raw text"
    [ -d "$raw" ] || fail "there is no folder $raw: pass --raw the folder of the raw text"
}

prepare_data() {
    local cut=()
    [ "$LARGE_PAIRS" = 0 ] || cut=(--train-pairs "$LARGE_PAIRS")
    run_step prepare-small - "$scripts/dlf-prepare" multi30k --raw "$raw" --out "$out/small" \
        --bpe-tokens "$BPE_TOKENS" --train-pairs "$SMALL_PAIRS"
    run_step prepare - "$scripts/dlf-prepare" multi30k --raw "$raw" --out "$out/data" --bpe-tokens "$BPE_TOKENS" "${cut[@]}"
}

steps_of_a_seed() {
    small_student
    teach_small
    large_student constant --criterion label_smoothed_cross_entropy --label-smoothing "$LABEL_SMOOTHING"
    large_student taught --criterion dlf --teacher "$run/teacher/checkpoint_best.pt"
    generate
}

# A teacher reads the architecture of a student from a checkpoint, of any age.
small_student() {
    local data=$out/small side sizes=(--decoder-out-embed-dim "$SMALL_WIDTH")
    for side in encoder decoder; do
        sizes+=("--$side-embed-dim" "$SMALL_WIDTH" "--$side-hidden-size" "$SMALL_WIDTH")
    done
    train "small-$seed" "$run/small" --arch "$ARCH" "${sizes[@]}" --dropout "$DROPOUT" --seed "$seed" \
        --criterion cross_entropy --optimizer adam --lr "$SMALL_LR" --batch-size "$BATCH_SIZE" --max-update 1 \
        --disable-validation
}

teach_small() {
    local data=$out/small
    train "teach-$seed" "$run/teacher" --task dlf_teaching --arch dlf_teacher --criterion dlf_teaching \
        --seed "$seed" --student "$run/small/checkpoint_last.pt" --student-start fresh --student-steps "$TEACH_STEPS" \
        --student-optimizer adam --student-lr "$SMALL_LR" --student-clip-norm "$CLIP_NORM" \
        --student-dropout "$DROPOUT" --batch-size "$BATCH_SIZE" \
        --form "shares(linear=1,start=$LABEL_SMOOTHING)" --teacher-kind "schedule(knots=2)" \
        --estimator "forward_differences(step=$DIFFERENCE)" --measure greedy_bleu --measure-sentences 0 \
        --optimizer dlf_rprop --lr "$TEACH_LR" --max-update "$TEACH_EPISODES" --episodes-per-epoch 1 --log-interval 1 \
        "${BEST_BY_BLEU[@]}"
}

large_student() {
    local name=$1
    shift
    train "student-$name-$seed" "$run/$name" --task dlf_translation --expected-bleu-every 8 --arch "$ARCH" \
        --dropout "$DROPOUT" --seed "$seed" "$@" --optimizer adam --lr "$LARGE_LR" --clip-norm "$CLIP_NORM" \
        --lr-scheduler dlf_linear_tail --batch-size "$BATCH_SIZE" --max-update "$STUDENT_UPDATES" \
        --validate-interval-updates "$STUDENT_VALIDATE_EVERY" \
        --save-interval-updates "$STUDENT_VALIDATE_EVERY" --keep-interval-updates 1 \
        "${EVAL_BLEU[@]}" "${BEST_BY_BLEU[@]}"
}

# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
run_recipe "$@"
