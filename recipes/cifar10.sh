#!/usr/bin/env bash
# First rows of the paper's Table 2: ResNet-8 on CIFAR-10 with five losses. Days on a CPU, hours on a GPU.
set -euo pipefail

ABOUT="L2T-DLF on CIFAR-10: ResNet-8, five losses (the paper's Table 2)."
DATA_KIND=cifar10
DATA_HELP="folder of the binary version; required"
DEFAULT_OUT=runs/cifar10
# Model : epochs of its students : epochs of an episode : learning rate of an episode
: "${MODELS:=resnet-8:80:80:0.5}"
: "${STUDENT_OPTIONS:=}"              # further options of students, in episodes and after

: "${SEEDS:=3}"
: "${EPOCHS:=}"

# Learning rates to choose from on dev, three for every loss
: "${CROSS_ENTROPY_LR:=0.03,0.1,0.3}"
: "${SMOOTH_LR:=0.003,0.01,0.03}"    # the slope of this loss is up to 50 times as steep
: "${LARGE_MARGIN_LR:=0.03,0.1,0.3}"
: "${CONSTANT_LR:=0.3,1,3}"          # the sigmoid's slope is a quarter
: "${TAUGHT_LR:=0.5,1,2}"         # Φ starts at a fifth
: "${LARGE_MARGIN_OPTIONS:=margin=2,gamma=1e-5,power=45}"

# Teacher
: "${TEACH_EPISODES:=100}"           # paper
: "${TEACH_OPTIONS:=--phi-start 0.2 --phi-off-diagonal 0,inf --key-scale 3 --sharpness 5 --teacher-lr 0.0005}"

# shellcheck source=recipes/images_common.sh
source "$(dirname "${BASH_SOURCE[0]}")/images_common.sh"
run_image_recipe "$@"
