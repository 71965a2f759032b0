# Code that the recipes of image classification share. A recipe sets the variables at its head and calls
# `run_image_recipe "$@"`. This file is sourced, never run.

# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

folder=
spec=
download=()

image_usage() {
    cat <<EOF
usage: ${0##*/}${DATA_HELP:+ --data DIR} [options]

$ABOUT

Steps for each model: choose the learning rate of every loss on dev and train --seeds students with it;
train a teacher, and students with this teacher. Then: the table of test errors and the plots.
Safe to run again: finished steps are skipped, and an unfinished step continues.

${DATA_HELP:+  --data DIR       $DATA_HELP
  --download       fetch the files that are missing there
}  --out DIR        where everything goes (default: $DEFAULT_OUT)
  --seeds N        students of every loss (default: $SEEDS)
  --epochs E       length of students' runs (default: ${EPOCHS:-those in MODELS})
  --episodes N     steps of the teacher (default: $TEACH_EPISODES)
  --python EXE     Python that has fairseq_dlf (default: .venv of the repository, else python3)
  --dry-run        print the commands without running them
  --help           show this text

Every variable at the head of the recipe can also be set in the environment.
EOF
}

parse_image_options() {
    while [ $# -gt 0 ]; do
        case "$1" in
            -h | --help) image_usage; exit 0 ;;
            --dry-run) dry_run=yes; shift; continue ;;
            --download) download=(--download); shift; continue ;;
            --data) [ -n "$DATA_HELP" ] || fail "unknown option $1: see --help" ;;
            --out | --seeds | --epochs | --episodes | --python) ;;
            *) fail "unknown option $1: see --help" ;;
        esac
        [ $# -ge 2 ] || fail "$1 needs a value: see --help"
        case "$1" in
            --data) folder=$2 ;;
            --out) out=$2 ;;
            --python) python=$2 ;;
            --seeds) SEEDS=$(positive "$1" "$2") ;;
            --epochs) EPOCHS=$(positive "$1" "$2") ;;
            --episodes) TEACH_EPISODES=$(positive "$1" "$2") ;;
        esac
        shift 2
    done
    out=${out:-$DEFAULT_OUT}
    spec=$DATA_KIND
    if [ -n "$DATA_HELP" ]; then
        [ -n "$folder" ] || fail "--data is missing: pass the folder of $DATA_KIND, or one to --download it to"
        [ -d "$folder" ] || [ ${#download[@]} -gt 0 ] ||
            fail "there is no folder $folder: pass --data DIR, or --download"
        spec=$DATA_KIND:$folder
    fi
    command -v "$python" > /dev/null || fail "there is no $python: run make, or pass --python"
}

images() {
    local name=$1
    shift
    run_step "$name" - "$python" -m fairseq_dlf.images "$@"
}

# The losses differ only in their name, options and learning rates.
train_loss() {
    local model=$1 epochs=$2 name=$3 rates=$4
    shift 4
    runs+=("$out/$model/$name")
    images "$model-$name" train --data "$spec" "${download[@]}" --model "$model" --epochs "$epochs" \
        --seeds "$SEEDS" --lr "$rates" --out "$out/$model/$name" "${shared[@]}" "$@"
}

run_image_recipe() {
    local runs=() teachers=() models options shared model epochs teach_epochs teach_lr first= line
    parse_image_options "$@"
    read -ra models <<< "$MODELS"
    read -ra options <<< "$TEACH_OPTIONS"
    read -ra shared <<< "$STUDENT_OPTIONS"
    steps=$((${#models[@]} * 7 + 1))
    for line in "${models[@]}"; do
        IFS=: read -r model epochs teach_epochs teach_lr <<< "$line"
        [ -n "$teach_lr" ] || fail "MODELS has $line, wanted MODEL:EPOCHS:EPOCHS-OF-EPISODES:RATE-OF-EPISODES"
        epochs=${EPOCHS:-$epochs}
        train_loss "$model" "$epochs" cross_entropy "$CROSS_ENTROPY_LR" --loss cross_entropy
        train_loss "$model" "$epochs" smooth "$SMOOTH_LR" --loss smooth
        train_loss "$model" "$epochs" large_margin "$LARGE_MARGIN_LR" --loss large_margin \
            --loss-options "$LARGE_MARGIN_OPTIONS"
        train_loss "$model" "$epochs" constant "$CONSTANT_LR" --loss constant
        teachers+=("$out/$model/teacher")
        images "$model-teach" teach --data "$spec" "${download[@]}" --model "$model" --epochs "$teach_epochs" \
            --lr "$teach_lr" --out "$out/$model/teacher" --teacher-steps "$TEACH_EPISODES" "${shared[@]}" "${options[@]}"
        train_loss "$model" "$epochs" taught "$TAUGHT_LR" --loss dlf --teacher "$out/$model/teacher/teacher.safetensors"
        # Every other model is also trained with the first model's teacher.
        if [ -n "$first" ]; then
            train_loss "$model" "$epochs" "taught-on-$first" "$TAUGHT_LR" --loss dlf \
                --teacher "$out/$first/teacher/teacher.safetensors"
        fi
        first=${first:-$model}
    done
    # Markdown goes to the file, progress to the log.
    run_step table "$out/table.md" "$python" -m fairseq_dlf.images table "${runs[@]}" --json "$out/table.json"
    images plots plot "${runs[@]}" "${teachers[@]}" --out "$out/plots"
    [ "$dry_run" = yes ] || {
        cat "$out/table.md"
        echo
        echo "table: $out/table.md, .json; logs: $out/steps; plots:" "$out"/plots/*.png
    }
}
