"""The recipes of image classification as far as they go without training."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fairseq_dlf.images.command_line import build_parser

ROOT = Path(__file__).parents[2]
MODELS = {"digits": ["mlp-50"], "mnist": ["mlp", "lenet"], "cifar10": ["resnet-8"]}
LOSSES = ["cross_entropy", "smooth", "large_margin", "constant", "dlf"]


def run_recipe(name, *arguments, **variables):
    command = ["bash", str(ROOT / "recipes" / f"{name}.sh"), "--python", sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env={**os.environ, **variables}, timeout=300)


def dry_run(name, folder, *arguments, **variables):
    """The commands of a recipe as this package parses them."""
    data = [] if name == "digits" else ["--data", folder]
    done = run_recipe(name, *data, "--out", folder / "out", "--dry-run", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    assert not (folder / "out").exists()
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert all(line[1:3] == ["-m", "fairseq_dlf.images"] for line in lines)
    return [build_parser().parse_args(line[3:]) for line in lines]


@pytest.mark.parametrize("name", MODELS)
def test_every_loss_gets_the_same_tuning_seeds_and_epochs(name, tmp_path):
    commands = [c for c in dry_run(name, tmp_path, "--seeds", 5) if c.command == "train"]
    for model in MODELS[name]:
        own = [c for c in commands if c.model == model]
        assert [c.loss for c in own][:5] == LOSSES
        assert len({len(c.rates) for c in own}) == 1 and len(own[0].rates) >= 3 and {c.seeds for c in own} == {5}
        assert len({c.epochs for c in own}) == 1 and len({c.out for c in own}) == len(own)


@pytest.mark.parametrize("name", MODELS)
def test_students_take_the_teacher_that_was_taught(name, tmp_path):
    commands = dry_run(name, tmp_path, "--episodes", 7)
    teachers = {c.model: c.out / "teacher.safetensors" for c in commands if c.command == "teach"}
    assert list(teachers) == MODELS[name]
    assert {c.teacher_steps for c in commands if c.command == "teach"} == {7}
    taught = [(c.model, c.teacher_file) for c in commands if c.command == "train" and c.loss == "dlf"]
    transferred = [(model, teachers[MODELS[name][0]]) for model in MODELS[name][1:]]
    assert sorted(taught) == sorted([*teachers.items(), *transferred])


def test_table_and_plots_see_every_run(tmp_path):
    *commands, table, plots = dry_run("mnist", tmp_path)
    trained = [c.out for c in commands if c.command == "train"]
    assert table.runs == trained and len(trained) == 11
    assert plots.folders == trained + [c.out for c in commands if c.command == "teach"]


def test_variables_come_from_the_environment(tmp_path):
    commands = dry_run("cifar10", tmp_path, MODELS="resnet-20:3:2:1", SMOOTH_LR="0.5", TEACH_OPTIONS="--keys 1")
    assert {c.model for c in commands if c.command in ("train", "teach")} == {"resnet-20"}
    assert {c.epochs for c in commands if c.command == "train"} == {3.0}
    assert [c.rates for c in commands if c.command == "train" and c.loss == "smooth"] == [(0.5,)]
    assert [(c.keys, c.epochs) for c in commands if c.command == "teach"] == [(1, 2.0)]


@pytest.mark.parametrize("name", MODELS)
def test_help_names_every_option(name):
    done = run_recipe(name, "--help")
    assert done.returncode == 0
    assert ("--data" in done.stdout) == ("--download" in done.stdout) == (name != "digits")
    for option in ("--out", "--seeds", "--epochs", "--episodes", "--python", "--dry-run"):
        assert option in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-such"], "unknown option --no-such"),
        (["--seeds"], "--seeds needs a value"),
        (["--seeds", "0"], "--seeds is 0, wanted 1 or more"),
        ([], "--data is missing: pass the folder of mnist"),
        (["--data", ".", "--dry-run"], "MODELS has mlp:20, wanted MODEL:EPOCHS:EPOCHS-OF-EPISODES"),
        (["--data", "nowhere"], "there is no folder nowhere: pass --data DIR, or --download"),
    ],
)
def test_wrong_option_stops_with_one_line(arguments, message):
    done = run_recipe("mnist", *arguments, MODELS="mlp:20")
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("mnist.sh: error: ") and done.stderr.count("\n") == 1
