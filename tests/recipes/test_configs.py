"""The YAML configurations against the recipes of the same name, option by option."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("fairseq")

from fairseq import options  # noqa: E402
from fairseq.dataclass.utils import convert_namespace_to_omegaconf  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

import fairseq_dlf.translation.plugins  # noqa: E402, F401

ROOT = Path(__file__).parents[2]
CORPORA = ("multi30k", "iwslt14")
# A recipe's commands by the folder that they save to, with the configuration of the same step.
STEPS = {"warm": "warm", "teacher": "teach", "taught": "student"}
# What each run names for itself.
PLACES = {
    "common.user_dir",
    "task.data",
    "task.student",
    "criterion.teacher",
    "checkpoint.save_dir",
    "checkpoint.finetune_from_model",
}
# Options that choose what a section of the configuration is about.
CHOICES = {"task": "task", "arch": "model", "criterion": "criterion", "optimizer": "optimizer"}
CHOICES["lr_scheduler"] = "lr_scheduler"


def dry_run(name, folder):
    """The training commands of a recipe by the folder that they save to, each without `fairseq-train`."""
    command = ["bash", str(ROOT / "recipes" / f"{name}.sh"), "--python", sys.executable, "--dry-run"]
    command += ["--out", str(folder / "out")] + (["--raw", str(folder)] if name == "multi30k" else [])
    # Variables of the environment would take the place of the recipe's own.
    own = {variable: os.environ[variable] for variable in ("PATH", "HOME") if variable in os.environ}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=own, timeout=900, check=True)
    commands = [shlex.split(line) for line in done.stdout.splitlines()]
    training = [words for words in commands if Path(words[0]).name == "fairseq-train"]
    return {Path(words[words.index("--save-dir") + 1]).name: words[1:] for words in training}


class Recipe(NamedTuple):
    """A training command as fairseq reads it."""

    values: dict
    given: dict
    defaults: dict


def read_command(words):
    """Values by 'section.option'; of the options that were given, their names and defaults by the same."""
    place = words.index("--user-dir")  # fairseq would import the package a second time
    words = words[:place] + words[place + 2 :]
    parser = options.get_training_parser()
    arguments = options.parse_args_and_arch(parser, words)
    sections = OmegaConf.to_container(convert_namespace_to_omegaconf(arguments))
    values = {
        f"{section}.{option}": value
        for section, found in sections.items()
        if found is not None and section != "_name"
        for option, value in (found if isinstance(found, dict) else vars(found)).items()
    }
    given = {}
    for flag in (word for word in words if word in parser._option_string_actions):
        option = parser._option_string_actions[flag].dest
        if option not in CHOICES:
            given[option] = flag
    return Recipe(values, given, {option: parser.get_default(option) for option in given})


def configuration(name):
    """The values of a YAML file by 'section.option'."""
    sections = OmegaConf.to_container(OmegaConf.load(ROOT / "configs" / f"{name}.yaml"), resolve=True)
    del sections["hydra"]
    return {f"{section}.{option}": value for section, values in sections.items() for option, value in values.items()}


@pytest.fixture(scope="module", params=CORPORA)
def steps(request, tmp_path_factory):
    """A recipe's training commands and the configurations of the same steps, by name."""
    commands = dry_run(request.param, tmp_path_factory.mktemp("a folder"))
    return {
        f"{request.param}_{step}": (read_command(commands[folder]), configuration(f"{request.param}_{step}"))
        for folder, step in STEPS.items()
    }


def test_every_value_of_the_yaml_is_the_recipes(steps):
    for name, (recipe, yaml) in steps.items():
        compared = {place: value for place, value in yaml.items() if place not in PLACES}
        assert compared == {place: recipe.values.get(place, "not in the recipe") for place in compared}, name
        assert len(compared) > 12


def test_every_option_of_the_recipe_is_in_the_yaml_or_a_default(steps):
    for name, (recipe, yaml) in steps.items():
        options_of_yaml = {place.partition(".")[2] for place in yaml}
        missing = {
            flag: (recipe_value(recipe, option), recipe.defaults[option])
            for option, flag in recipe.given.items()
            if option not in options_of_yaml and recipe_value(recipe, option) != recipe.defaults[option]
        }
        assert missing == {}, f"{name}.yaml lacks what the recipe gives; (given, default)"
        assert len(recipe.given) > 15


def recipe_value(recipe, option):
    return next(value for place, value in recipe.values.items() if place.partition(".")[2] == option)


def test_every_configuration_has_its_recipe():
    known = {f"{corpus}_{step}.yaml" for corpus in CORPORA for step in STEPS.values()}
    assert {path.name for path in (ROOT / "configs").iterdir()} == known
