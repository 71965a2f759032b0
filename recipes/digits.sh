#!/usr/bin/env bash
# The whole method on scikit-learn's digits: minutes on a CPU. It shows that the pipeline works; 359 test images are too
# few to compare losses.
set -euo pipefail

ABOUT="L2T-DLF on scikit-learn's 1,797 digits: an MLP, five losses, in minutes."
DATA_KIND=digits
DATA_HELP=                           # the digits come with scikit-learn
DEFAULT_OUT=runs/digits
# Model : epochs of its students : epochs of an episode : learning rate of an episode
: "${MODELS:=mlp-50:20:10:0.5}"
: "${STUDENT_OPTIONS:=}"              # further options of students, in episodes and after

: "${SEEDS:=3}"
: "${EPOCHS:=}"

# Learning rates to choose from on dev, three for every loss
: "${CROSS_ENTROPY_LR:=0.05,0.1,0.2}"
: "${SMOOTH_LR:=0.001,0.003,0.01}"   # the slope of this loss is up to 50 times as steep
: "${LARGE_MARGIN_LR:=0.05,0.1,0.2}"
: "${CONSTANT_LR:=0.3,0.6,1.2}"      # the sigmoid's slope is a quarter
: "${TAUGHT_LR:=0.2,0.5,1}"
: "${LARGE_MARGIN_OPTIONS:=margin=4}"

# Teacher
: "${TEACH_EPISODES:=20}"            # seconds each
: "${TEACH_OPTIONS:=--phi-start 0.2 --teacher-lr 0.002 --sharpness 5 --key-scale 3}"

# shellcheck source=recipes/images_common.sh
source "$(dirname "${BASH_SOURCE[0]}")/images_common.sh"
run_image_recipe "$@"
