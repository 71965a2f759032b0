#!/usr/bin/env bash
# The paper's Table 1: MLP and LeNet on MNIST with five losses. Hours on two CPU cores.
set -euo pipefail

ABOUT="L2T-DLF on MNIST: MLP and LeNet, five losses (the paper's Table 1)."
DATA_KIND=mnist
DATA_HELP="folder of the four IDX files, gzipped or not; required"
DEFAULT_OUT=runs/mnist
# Model : epochs of its students : epochs of an episode : learning rate of an episode
: "${MODELS:=mlp:20:5:0.3 lenet:4:2:1}"
: "${STUDENT_OPTIONS:=--milestones 0.5,0.75}" # the paper's rate is constant; Φ near label smoothing needs a falling one

: "${SEEDS:=3}"
: "${EPOCHS:=}"

# Learning rates to choose from on dev, four for every loss: LeNet, in batches of 500, tolerates the greater ones
: "${CROSS_ENTROPY_LR:=0.01,0.03,0.06,0.1}"
: "${SMOOTH_LR:=0.0003,0.001,0.003,0.01}" # the slope of this loss is up to 50 times as steep
: "${LARGE_MARGIN_LR:=0.003,0.01,0.03,0.1}"
: "${CONSTANT_LR:=0.05,0.15,0.4,0.6}" # the sigmoid's slope is a quarter
: "${TAUGHT_LR:=0.1,0.3,0.6,2}"      # Φ starts at a fifth
: "${LARGE_MARGIN_OPTIONS:=margin=4,gamma=2.5e-5,power=35,lambda_min=20}" # annealing to 0 ruins the MLP

# Teacher
: "${TEACH_EPISODES:=6}"             # dev accuracy is flat by then; the paper takes 60
# These options made teaching stable in the ablations of RESULTS.md
: "${TEACH_OPTIONS:=--phi-start 0.2 --phi-off-diagonal 0,inf --key-scale 3 --sharpness 5 --teacher-lr 0.001 --validate-every 3}"

# shellcheck source=recipes/images_common.sh
source "$(dirname "${BASH_SOURCE[0]}")/images_common.sh"
run_image_recipe "$@"
