# Code that the recipes share: options, steps that can be resumed, and the steps themselves.
# A recipe sets the variables at its head, defines `prepare_data` and `check_input`, and calls
# `run_recipe "$@"`. One with other steps also sets STEPS, STUDENTS, BASELINE and STEPS_OF_A_SEED, and defines
# `steps_of_a_seed`. This file is sourced, never run.

ROOT=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
STEPS=${STEPS:-"preparation, warm start, teacher, three students with the same number of updates
(cross-entropy, constant coefficients, taught coefficients), generation, comparison."}
[ -n "${STUDENTS:-}" ] || STUDENTS=(cross-entropy constant taught)
BASELINE=${BASELINE:-cross-entropy}
STEPS_OF_A_SEED=${STEPS_OF_A_SEED:-8}
# Greedy BLEU on dev selects every student's best checkpoint; test is read once, by `generate`.
EVAL_BLEU=(--eval-bleu --eval-bleu-args '{"beam": 1}' --eval-bleu-remove-bpe --eval-tokenized-bleu)
BEST_BY_BLEU=(--best-checkpoint-metric bleu --maximize-best-checkpoint-metric)
QUIET=(--num-workers 0 --log-format simple --log-interval "${LOG_INTERVAL:-100}")

seeds=${SEED:-1}
out=
raw=
archive=
dry_run=no
python=
if [ -x "$ROOT/.venv/bin/python" ]; then python=$ROOT/.venv/bin/python; fi
python=${python:-python3}
step=0
steps=0

usage() {
    cat <<EOF
usage: ${0##*/} [options]

$ABOUT

Steps: $STEPS
Safe to run again: finished steps are skipped, and unfinished training continues.

  --out DIR        where everything goes (default: $DEFAULT_OUT)
$INPUT_HELP
  --seed S[,S…]    training seeds, each with its own teacher (default: 1)
${WARM_EPOCHS:+  --epochs N       epochs of the warm start (default: $WARM_EPOCHS)
}  --episodes N     updates of the teacher (default: $TEACH_EPISODES)
  --updates N      updates of each student that is compared (default: $STUDENT_UPDATES)
  --python EXE     Python that has fairseq_dlf (default: .venv of the repository, else python3)
  --dry-run        print the commands without running them
  --help           show this text

Every variable at the head of the recipe can also be set in the environment.
EOF
}

fail() {
    echo "${0##*/}: error: $1" >&2
    exit 1
}

parse_options() {
    while [ $# -gt 0 ]; do
        case "$1" in
            -h | --help) usage; exit 0 ;;
            --dry-run) dry_run=yes; shift; continue ;;
            --out | --seed | --episodes | --updates | --python) ;;
            --epochs) [ -n "${WARM_EPOCHS:-}" ] || fail "unknown option $1: see --help" ;;
            --raw | --archive)
                case "$INPUT_HELP" in *"$1 "*) ;; *) fail "unknown option $1: see --help" ;; esac ;;
            *) fail "unknown option $1: see --help" ;;
        esac
        [ $# -ge 2 ] || fail "$1 needs a value: see --help"
        case "$1" in
            --out) out=$2 ;;
            --raw) raw=$2 ;;
            --archive) archive=$2 ;;
            --seed) seeds=$2 ;;
            --python) python=$2 ;;
            --epochs) WARM_EPOCHS=$(positive "$1" "$2") ;;
            --episodes) TEACH_EPISODES=$(positive "$1" "$2") ;;
            --updates) STUDENT_UPDATES=$(positive "$1" "$2") ;;
        esac
        shift 2
    done
    out=${out:-$DEFAULT_OUT}
    # dlf-compare separates files by commas, fairseq-train by colons.
    [[ $out != *[,:]* ]] || fail "--out is $out, wanted a folder without commas and colons in its name"
    [[ $seeds =~ ^[1-9][0-9]*(,[1-9][0-9]*)*$ ]] || fail "--seed is $seeds, wanted S or S,S,… of 1 or more"
}

positive() {
    [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "$1 is $2, wanted 1 or more"
    echo "$2"
}

# Use the console scripts of the chosen Python, so that fairseq never comes from another environment by accident.
find_commands() {
    command -v "$python" > /dev/null || fail "there is no $python: run make, or pass --python"
    scripts=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
    local name
    for name in fairseq-train fairseq-generate dlf-prepare dlf-compare; do
        [ "$dry_run" = yes ] || [ -x "$scripts/$name" ] ||
            fail "$name is not beside $python: install this package there, or pass --python"
    done
}

# run_step NAME OUTPUT COMMAND…: run a command, unless it has finished before, and write its standard
# output to the file OUTPUT (- for no file). The command is stored beside the mark of its end, so that
# results of other settings are never mistaken for these.
run_step() {
    local name=$1 output=$2 command mark
    shift 2
    step=$((step + 1))
    printf -v command '%q ' "$@"
    if [ "$dry_run" = yes ]; then
        echo "$command"
        return
    fi
    mark=$out/steps/$name
    mkdir -p "$out/steps"
    if [ -f "$mark.command" ] && [ "$(cat "$mark.command")" != "$command" ]; then
        fail "$name was started with other settings (see $mark.command): choose another --out, or delete $out"
    fi
    if [ -f "$mark.done" ]; then
        say "$name: done before"
        return
    fi
    say "$name: log in $mark.log"
    echo "$command" > "$mark.command"
    show_progress "$mark.log"
    if [ "$output" = - ]; then
        "$@" > "$mark.log" 2>&1 || stopped "$name" "$mark.log"
    else
        "$@" > "$output.unfinished" 2> "$mark.log" || stopped "$name" "$mark.log"
        mv "$output.unfinished" "$output"
    fi
    hide_progress
    touch "$mark.done"
}

# On a terminal, a line tells how far the step is. It ends with this shell, whatever happens.
shown=
show_progress() {
    [ -t 1 ] || return 0
    "$python" "$ROOT/recipes/live_line.py" "$1" &
    shown=$!
}

hide_progress() {
    [ -n "$shown" ] || return 0
    kill "$shown" 2> /dev/null || true
    wait "$shown" 2> /dev/null || true
    shown=
}

say() {
    echo "[step $step/$steps] $1 (elapsed $(((SECONDS + 30) / 60))m)"
}

stopped() {
    hide_progress
    tail -n 15 "$2" >&2
    fail "step $step/$steps ($1) failed: its log is $2; the same command goes on from here"
}

train() {
    local name=$1 directory=$2
    shift 2
    run_step "$name" - "$scripts/fairseq-train" "${data:-$out/data}/bin" --user-dir "$ROOT/fairseq_dlf" \
        --save-dir "$directory" --no-epoch-checkpoints "${QUIET[@]}" "$@"
}

warm_start() {
    train "warm-$seed" "$run/warm" --arch "$ARCH" "${STUDENT_SIZES[@]}" --dropout "$DROPOUT" --seed "$seed" \
        --criterion label_smoothed_cross_entropy --label-smoothing "$LABEL_SMOOTHING" \
        --optimizer adam --lr "$WARM_LR" --clip-norm "$CLIP_NORM" \
        --lr-scheduler fixed --force-anneal "$WARM_ANNEAL_EPOCH" --lr-shrink "$WARM_LR_SHRINK" \
        --max-epoch "$WARM_EPOCHS" --max-tokens "$WARM_MAX_TOKENS" "${EVAL_BLEU[@]}" "${BEST_BY_BLEU[@]}"
}

# Label smoothing applies to the share of cross-entropy: without such a share there is nothing to smooth.
smoothing_of_the_share() {
    [[ $CE_SHARE =~ ^0*(\.0*)?$ ]] || echo "--label-smoothing $LABEL_SMOOTHING"
}

teach() {
    local rule=(--student-optimizer "$TEACH_STUDENT_OPTIMIZER")
    [ "$TEACH_STUDENT_OPTIMIZER" != momentum ] || rule+=(--student-momentum "$MOMENTUM")
    train "teach-$seed" "$run/teacher" --task dlf_teaching --arch dlf_teacher --criterion dlf_teaching \
        --seed "$seed" --student "$run/warm/checkpoint_best.pt" --student-start warm \
        --student-steps "$TEACH_STEPS" --truncate "$TEACH_TRUNCATE" \
        "${rule[@]}" --student-lr "$TEACH_STUDENT_LR" --student-clip-norm "$TEACH_CLIP_NORM" \
        --measure-sentences "$MEASURE_SENTENCES" --candidates "$CANDIDATES" \
        --greedy-sentences "$GREEDY_SENTENCES" --progress-sentences "$PROGRESS_SENTENCES" \
        --episodes-per-epoch "$EPISODES_PER_EPOCH" --ce-share "$CE_SHARE" \
        $(smoothing_of_the_share) --batch-size "$BATCH_SIZE" \
        --optimizer adam --lr "$TEACH_LR" --max-update "$TEACH_EPISODES" --log-interval 1 "${TEACH_MORE[@]}" \
        "${BEST_BY_BLEU[@]}"
}

# The three students differ only in their criterion and their learning rate.
student() {
    local name=$1 lr=$2
    shift 2
    train "student-$name-$seed" "$run/$name" --task dlf_translation --expected-bleu-every 8 --arch "$ARCH" "${STUDENT_SIZES[@]}" \
        --dropout "$DROPOUT" --seed "$seed" --finetune-from-model "$run/warm/checkpoint_best.pt" "$@" \
        --optimizer sgd --momentum "$MOMENTUM" --lr "$lr" \
        --clip-norm "$CLIP_NORM" --lr-scheduler fixed --batch-size "$BATCH_SIZE" \
        --max-update "$STUDENT_UPDATES" --validate-interval-updates "$STUDENT_VALIDATE_EVERY" \
        --save-interval-updates "$STUDENT_VALIDATE_EVERY" --keep-interval-updates 1 \
        "${EVAL_BLEU[@]}" "${BEST_BY_BLEU[@]}"
}

students() {
    local dynamic=(--criterion dlf --ce-share "$CE_SHARE" $(smoothing_of_the_share))
    local progress=(--progress-sentences "$PROGRESS_SENTENCES" --progress-interval "$PROGRESS_INTERVAL")
    student cross-entropy "$CROSS_ENTROPY_LR" --criterion label_smoothed_cross_entropy \
        --label-smoothing "$LABEL_SMOOTHING"
    student constant "$CONSTANT_LR" "${dynamic[@]}" --coefficients 1.0
    student taught "$TAUGHT_LR" "${dynamic[@]}" "${progress[@]}" --teacher "$run/teacher/checkpoint_best.pt"
}

# With the default multiple of 8, fairseq leaves out up to seven sentences.
generate() {
    local name
    for name in "${STUDENTS[@]}"; do
        run_step "generate-$name-$seed" "$run/$name/generated.txt" "$scripts/fairseq-generate" "$out/data/bin" \
            --user-dir "$ROOT/fairseq_dlf" --path "$run/$name/checkpoint_best.pt" --gen-subset test \
            --beam "$BEAM" --remove-bpe --max-tokens "$GENERATE_MAX_TOKENS" --required-batch-size-multiple 1 --num-workers 0
    done
}

compare() {
    local name seed systems=() files note=()
    [ -z "${COMPARISON_NOTE:-}" ] || note=(--note "$COMPARISON_NOTE")
    for name in "${STUDENTS[@]}"; do
        files=
        for seed in ${seeds//,/ }; do files+=,$out/seed-$seed/$name/generated.txt; done
        systems+=("$name=${files#,}")
    done
    run_step "compare-${seeds//,/-}" "$out/comparison-${seeds//,/-}.md" "$scripts/dlf-compare" \
        --references "$out/data/raw/test.en" --target-lang en --baseline "$BASELINE" \
        --json "$out/comparison-${seeds//,/-}.json" "${note[@]}" "${systems[@]}"
    [ "$dry_run" = yes ] || cat "$out/comparison-${seeds//,/-}.md"
}

# Where the results are, and what can be done with them.
say_what_is_next() {
    [ "$dry_run" = no ] || return 0
    local teacher=$out/seed-${seeds%%,*}/teacher/checkpoint_best.pt
    echo
    echo "table and all figures: $out/comparison-${seeds//,/-}.md, .json; logs: $out/steps"
    [ ! -f "$teacher" ] ||
        echo "what the teacher learnt: $scripts/dlf-teacher $teacher --data $out/data/bin --out $out/report"
}

declare -F steps_of_a_seed > /dev/null || steps_of_a_seed() {
    warm_start
    teach
    students
    generate
}

run_recipe() {
    parse_options "$@"
    check_input
    find_commands
    local seed run list=(${seeds//,/ })
    steps=$((PREPARE_STEPS + STEPS_OF_A_SEED * ${#list[@]} + 1))
    prepare_data
    for seed in "${list[@]}"; do
        run=$out/seed-$seed
        [ "$dry_run" = yes ] || mkdir -p "$run"
        steps_of_a_seed
    done
    compare
    say_what_is_next
}
