#!/usr/bin/env bash
# The paper's Table 1: MLP and LeNet on MNIST with five losses. Hours on two CPU cores.
set -euo pipefail

ABOUT="L2T-DLF on MNIST: MLP and LeNet, five losses (the paper's Table 1)."
DATA_KIND=mnist
DATA_HELP="folder of the four IDX files, gzipped or not; required"
DEFAULT_OUT=runs/mnist
: "${MODELS:=mlp:20 lenet:6}"              # with the epochs of their students; the curves are flat by then

: "${SEEDS:=3}"
: "${EPOCHS:=}"

# Rates to choose among by dev, three for every loss
: "${CROSS_ENTROPY_LR:=0.01,0.03,0.1}"
: "${SMOOTH_LR:=0.0003,0.001,0.003}" # its slope is up to 50 times as steep
: "${LARGE_MARGIN_LR:=0.003,0.01,0.03}"
: "${CONSTANT_LR:=0.03,0.1,0.3}"     # the sigmoid's slope is a quarter
: "${TAUGHT_LR:=0.03,0.1,0.3}"
: "${LARGE_MARGIN_OPTIONS:=margin=4,gamma=2.5e-5,power=35}"

# Teacher
: "${TEACH_EPISODES:=60}"            # paper
: "${TEACH_OPTIONS:=}"               # further options of `teach`

# shellcheck source=recipes/images_common.sh
source "$(dirname "${BASH_SOURCE[0]}")/images_common.sh"
run_image_recipe "$@"
