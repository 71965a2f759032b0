"""The recipes as far as they go without training, and the YAML configurations."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fairseq")

from tests.forking import run  # noqa: E402

ROOT = Path(__file__).parents[2]
RECIPES = ("toy", "multi30k", "iwslt14")
STUDENTS = ("cross-entropy", "constant", "taught")
# Where the criteria of the three students differ; the rest of their commands must not.
CRITERIA = {
    "cross-entropy": ["--criterion label_smoothed_cross_entropy"],
    "constant": ["--criterion dlf", "--coefficients 1.0"],
    "taught": ["--criterion dlf", "--teacher"],
}


def run_recipe(name, *arguments, **variables):
    return subprocess.run(
        ["bash", str(ROOT / "recipes" / f"{name}.sh"), "--python", sys.executable, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **variables},
        timeout=900,
    )


def input_of(name, folder):
    return ["--raw", folder] if name in ("multi30k", "transfer") else []


def dry_run(name, folder, *arguments, **variables):
    """The commands of a recipe, each split into words."""
    everything = [*input_of(name, folder), "--out", folder / "out", "--dry-run", *arguments]
    done = run_recipe(name, *everything, **variables)
    assert done.returncode == 0, done.stderr
    assert not (folder / "out").exists()
    return [shlex.split(line) for line in done.stdout.splitlines()]


def student_commands(commands):
    return [c for c in commands if "--finetune-from-model" in c]


def value(command, option):
    return command[command.index(option) + 1]


@pytest.mark.parametrize("name", [*RECIPES, "transfer", "common"])
def test_shell_can_read_it(name):
    done = subprocess.run(["bash", "-n", str(ROOT / "recipes" / f"{name}.sh")], capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", RECIPES)
def test_help_names_every_option(name):
    done = run_recipe(name, "--help")
    assert done.returncode == 0
    for option in ("--out", "--seed", "--epochs", "--episodes", "--updates", "--python", "--dry-run"):
        assert option in done.stdout
    assert ("--raw" in done.stdout) == (name == "multi30k")
    assert ("--archive" in done.stdout) == (name == "iwslt14")


@pytest.mark.parametrize("name", RECIPES)
def test_three_students_differ_in_nothing_but_criterion_and_rate(name, tmp_path):
    commands = student_commands(dry_run(name, tmp_path, "--updates", 77))
    assert [Path(value(c, "--save-dir")).name for c in commands] == list(STUDENTS)
    for command, student in zip(commands, STUDENTS, strict=True):
        assert all(words in " ".join(command) for words in CRITERIA[student])
    shared = ["--max-update", "--finetune-from-model", "--batch-size", "--momentum", "--clip-norm", "--seed"]
    shared += ["--validate-interval-updates", "--dropout", "--arch", "--task", "--optimizer"]
    for option in shared:
        assert len({value(c, option) for c in commands}) == 1, option
    assert value(commands[0], "--max-update") == "77"


@pytest.mark.parametrize("name", RECIPES)
def test_test_set_is_read_once_for_each_student(name, tmp_path):
    commands = dry_run(name, tmp_path)
    generating = [c for c in commands if Path(c[0]).name == "fairseq-generate"]
    assert [Path(value(c, "--path")).parent.name for c in generating] == list(STUDENTS)
    # fairseq leaves out the last batch where it is no multiple of 8.
    assert {value(c, "--required-batch-size-multiple") for c in generating} == {"1"}
    training = [c for c in commands if Path(c[0]).name == "fairseq-train"]
    assert len(training) == 5
    assert not any("test" in word for c in training for word in c if not word.startswith("/"))


@pytest.mark.parametrize("name", RECIPES)
def test_seeds_share_the_data_and_meet_in_the_comparison(name, tmp_path):
    commands = dry_run(name, tmp_path, "--seed", "1,5")
    assert [value(c, "--seed") for c in student_commands(commands)] == ["1"] * 3 + ["5"] * 3
    assert sum("dlf-prepare" in c[0] or "prepare-iwslt14" in " ".join(c) for c in commands) == 1
    comparison = commands[-1]
    files = [f"{tmp_path}/out/seed-{seed}/taught/generated.txt" for seed in (1, 5)]
    assert f"taught={','.join(files)}" in comparison and value(comparison, "--baseline") == "cross-entropy"


def test_transfer_teaches_on_the_small_corpus_and_trains_on_the_whole_one(tmp_path):
    commands = dry_run("transfer", tmp_path, "--seed", "1,2", "--updates", 99)
    small, whole = (f"{tmp_path}/out/{name}" for name in ("small", "data"))
    preparing = [c for c in commands if Path(c[0]).name == "dlf-prepare"]
    assert [value(c, "--out") for c in preparing] == [small, whole]
    assert ["--train-pairs" in c for c in preparing] == [True, False]
    training = [c for c in commands if Path(c[0]).name == "fairseq-train"]
    assert [c[1] for c in training] == 2 * [f"{small}/bin", f"{small}/bin", f"{whole}/bin", f"{whole}/bin"]
    seedling, teaching, constant, taught = training[4:]
    assert value(teaching, "--student") == value(seedling, "--save-dir") + "/checkpoint_last.pt"
    assert value(taught, "--teacher") == value(teaching, "--save-dir") + "/checkpoint_best.pt"
    start = value(constant, "--label-smoothing")
    assert value(teaching, "--form") == f"shares(linear=1,start={start})"
    loss = ["--criterion", "--label-smoothing", "--teacher", "--save-dir"]
    assert without(constant, loss) == without(taught, loss)
    assert commands[-1][-2:] == [
        f"{name}={','.join(f'{tmp_path}/out/seed-{seed}/{name}/generated.txt' for seed in (1, 2))}"
        for name in ("constant", "taught")
    ]
    cut = dry_run("transfer", tmp_path, LARGE_PAIRS="6000")
    assert value(cut[1], "--train-pairs") == "6000"


def without(command, options):
    """A command without these options and their values."""
    places = [place for option in options if option in command for place in [command.index(option)]]
    return [word for place, word in enumerate(command) if place not in places and place - 1 not in places]


def test_the_toy_says_under_its_table_that_it_is_one(tmp_path):
    toy, real = (dry_run(name, tmp_path)[-1] for name in ("toy", "multi30k"))
    assert "not evidence that one loss is better than another" in value(toy, "--note")
    assert "--note" not in real
    assert value(dry_run("multi30k", tmp_path, COMPARISON_NOTE="mine")[-1], "--note") == "mine"


def test_variables_come_from_the_environment(tmp_path):
    commands = dry_run("toy", tmp_path, CROSS_ENTROPY_LR="0.7", TAUGHT_LR="0.3", TEACH_STEPS="9")
    assert [value(c, "--lr") for c in student_commands(commands)] == ["0.7", "0.1", "0.3"]
    assert any("--student-steps" in c and value(c, "--student-steps") == "9" for c in commands)


@pytest.mark.parametrize("name", RECIPES)
def test_odd_names_of_folders_stay_whole(name, tmp_path):
    folder = tmp_path / "a folder of 100%s"
    folder.mkdir()
    commands = dry_run(name, folder, "--seed", "1,2", CDPATH=str(tmp_path))
    files = [f"{folder}/out/seed-{seed}/constant/generated.txt" for seed in (1, 2)]
    assert f"constant={','.join(files)}" in commands[-1]
    for command in commands:
        assert not {"folder", "of", "100%s"} & {word.partition("/")[0] for word in command}
    training = [c for c in commands if Path(c[0]).name == "fairseq-train"]
    assert {c[1] for c in training} == {f"{folder}/out/data/bin"}
    assert {value(c, "--user-dir") for c in training} == {str(ROOT / "fairseq_dlf")}


def test_momentum_is_given_to_the_rule_that_has_one(tmp_path):
    for rule, given in (("momentum", True), ("sgd", False)):
        commands = dry_run("toy", tmp_path, TEACH_STUDENT_OPTIMIZER=rule)
        teaching = next(c for c in commands if "--student-optimizer" in c)
        assert value(teaching, "--student-optimizer") == rule and ("--student-momentum" in teaching) is given


ERRORS = {
    "comma": ("toy", ["--out", "a,b"], "--out is a,b, wanted a folder without commas and colons"),
    "colon": ("toy", ["--out", "a:b"], "--out is a:b, wanted a folder without commas and colons"),
    "unknown option": ("toy", ["--no-such"], "unknown option --no-such"),
    "raw for toy": ("toy", ["--raw", "x"], "unknown option --raw"),
    "no value": ("toy", ["--out"], "--out needs a value"),
    "updates 0": ("toy", ["--updates", "0"], "--updates is 0, wanted 1 or more"),
    "seed": ("toy", ["--seed", "one"], "--seed is one, wanted S"),
    "no python": ("toy", ["--python", "no-such-python"], "there is no no-such-python"),
    "no warm start": ("transfer", ["--epochs", "3"], "unknown option --epochs"),
    "no raw to transfer": ("transfer", [], "--raw is missing"),
    "no raw": ("multi30k", [], "--raw is missing"),
    "raw missing": ("multi30k", ["--raw", "nowhere"], "there is no folder nowhere"),
    "archive missing": ("iwslt14", ["--archive", "nowhere.tgz"], "there is no archive nowhere.tgz"),
}


@pytest.mark.parametrize(("name", "arguments", "message"), ERRORS.values(), ids=ERRORS)
def test_wrong_option_stops_with_one_line(name, arguments, message):
    done = run_recipe(name, *arguments)
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith(f"{name}.sh: error: ") and done.stderr.count("\n") == 1


@pytest.fixture
def steps(tmp_path):
    """A script of two steps on the functions of common.sh; the second fails while `broken` exists."""
    script = tmp_path / "two.sh"
    script.write_text(
        "set -euo pipefail\n"
        f"source {shlex.quote(str(ROOT / 'recipes' / 'common.sh'))}\n"
        f"out={shlex.quote(str(tmp_path / 'out'))} steps=2\n"
        'run_step first "$out/first.txt" echo "${1:-hello}"\n'
        f"run_step second - test ! -e {shlex.quote(str(tmp_path / 'broken'))}\n",
        encoding="utf-8",
    )
    (tmp_path / "out").mkdir()

    def run_steps(*arguments):
        return subprocess.run(["bash", str(script), *arguments], capture_output=True, encoding="utf-8", timeout=300)

    return run_steps


def test_failed_step_stops_and_the_next_run_goes_on(steps, tmp_path):
    (tmp_path / "broken").touch()
    first = steps()
    assert first.returncode == 1 and "error: step 2/2 (second) failed" in first.stderr
    (tmp_path / "broken").unlink()
    second = steps()
    assert second.returncode == 0
    assert second.stdout.splitlines() == [
        "[step 1/2] first: done before (elapsed 0m)",
        f"[step 2/2] second: log in {tmp_path}/out/steps/second.log (elapsed 0m)",
    ]
    assert (tmp_path / "out" / "first.txt").read_text() == "hello\n"


def test_result_of_other_settings_is_not_taken(steps):
    assert steps("one").returncode == 0
    other = steps("two")
    assert other.returncode == 1 and "first was started with other settings" in other.stderr


@pytest.fixture(scope="module")
def tiny_bin(tmp_path_factory):
    """A binarised corpus of a few sentences."""
    folder = tmp_path_factory.mktemp("corpus")
    for split, lines in (("train", 40), ("valid", 16)):
        for language, word in (("de", "wort"), ("en", "word")):
            text = "\n".join(f"{word} {i % 7} {word} ." for i in range(lines)) + "\n"
            (folder / f"{split}.{language}").write_text(text, encoding="utf-8")
    words = ["-s", "de", "-t", "en", "--trainpref", folder / "train", "--validpref", folder / "valid"]
    assert run("fairseq_cli.preprocess", *words, "--destdir", folder / "bin").status == 0
    return folder / "bin"


def hydra_train(config, *overrides, cwd):
    """Trains with a configuration of the repository; returns what was printed."""
    words = ["--config-dir", ROOT / "configs", "--config-name", config, f"common.user_dir={ROOT}/fairseq_dlf"]
    done = run("fairseq_cli.hydra_train", *words, *overrides, cwd=cwd)
    assert done.status == 0, done.printed[-3000:]
    return done.printed


TINY_MODEL = [
    f"+model.{side}_{name}=8"
    for side, name in (
        ("encoder", "embed_dim"),
        ("encoder", "hidden_size"),
        ("decoder", "embed_dim"),
        ("decoder", "hidden_size"),
        ("decoder", "out_embed_dim"),
    )
]
TINY = {
    "warm": [*TINY_MODEL, "dataset.max_tokens=100"],
    "teach": [
        "task.student_steps=2",
        "+task.measure_sentences=4",
        "+task.progress_sentences=8",
        "++task.greedy_sentences=8",  # stands in one of the two files
        "dataset.batch_size=4",
    ],
    "student": [*TINY_MODEL, "criterion.progress_sentences=8", "dataset.batch_size=4"],
}


def test_warm_start_by_yaml(tiny_bin, tmp_path):
    updates = ["optimization.max_update=2", f"task.data={tiny_bin}"]
    printed = hydra_train("multi30k_warm", *TINY["warm"], *updates, cwd=tmp_path)
    assert re.search(r"num_updates\W+2\b", printed)
    assert (tmp_path / "checkpoints" / "multi30k_warm" / "checkpoint_best.pt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["multi30k", "iwslt14"])
def test_three_steps_by_yaml_find_each_other(corpus, tiny_bin, tmp_path):
    for step, results in (("warm", "warm"), ("teach", "teacher"), ("student", "student")):
        updates = ["optimization.max_update=2", f"task.data={tiny_bin}"]
        hydra_train(f"{corpus}_{step}", *TINY[step], *updates, cwd=tmp_path)
        assert (tmp_path / "checkpoints" / f"{corpus}_{results}" / "checkpoint_best.pt").is_file()
