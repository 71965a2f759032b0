"""Commands of Table 3, held to those of the recipe."""

import shlex
import subprocess
from pathlib import Path

import pytest

from experiments import runs
from experiments.table3 import TABLE, UPDATES

ROOT = Path(__file__).parents[2]
ROW = TABLE.rows[0]
FOLDER = "lstm_dlf_1/seed-1"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The commands of the recipe, by the last part of what they write."""
    folder = tmp_path_factory.mktemp("recipe")
    command = ["bash", str(ROOT / "recipes/multi30k.sh"), "--raw", str(folder), "--out", "OUT", "--dry-run"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    found = [shlex.split(line) for line in printed.splitlines()]
    return {Path(words[words.index("--save-dir") + 1]).name: words for words in found if "--save-dir" in words} | {
        "test": next(words for words in found if words[0].endswith("fairseq-generate"))
    }


def options(words):
    """Options by name, but those that change no figure or name a folder of this layout."""
    found = {}
    for place, word in enumerate(words):
        if word.startswith("--"):
            after = words[place + 1] if place + 1 < len(words) else "--"
            found[word] = "" if after.startswith("--") else after
    left_out = ("--user-dir", "--save-dir", "--finetune-from-model", "--student", "--path", "--teacher")
    left_out += ("--log-format", "--log-interval")
    return {name: value for name, value in found.items() if name not in left_out}


def column_task(name):
    column = TABLE.column(name)
    return runs.student_task(TABLE, ROW, 1, column, column.settings[0])


def test_the_warm_start_is_the_recipes(recipe):
    assert options(runs.warm_task(TABLE, ROW, 1).steps[0].command) == options(recipe["warm"])


def test_the_teacher_is_the_recipes(recipe):
    assert options(runs.teacher_task(TABLE, ROW, 1).steps[0].command) == options(recipe["teacher"])


def test_decoding_is_the_recipes(recipe):
    task = runs.decoding_task(TABLE, column_task("cross_entropy"))
    assert options(task.steps[0].command) == options(recipe["test"])


@pytest.mark.parametrize("column, name", [("constant", "constant"), ("taught", "taught")])
def test_students_differ_from_the_recipes_in_schedule_and_validations_only(recipe, column, name):
    ours, theirs = options(column_task(column).steps[0].command), options(recipe[name])
    differing = {option for option in ours.keys() | theirs.keys() if ours.get(option) != theirs.get(option)}
    changed = {"--lr", "--lr-scheduler", "--validate-interval", "--validate-interval-updates"}
    changed |= {"--save-interval-updates", "--keep-interval-updates", "--max-update", "--expected-bleu-every"}
    # Where it is written out, it is the default.
    assert differing <= changed | {"--progress-interval"}
    assert float(ours["--lr"]) == float(theirs["--lr"]) == 3


def test_names_and_needs():
    task = column_task("taught")
    assert (task.name, task.needs) == (f"{FOLDER}/taught/lr-3", (f"{FOLDER}/warm", f"{FOLDER}/teacher"))
    assert f"--teacher OUT/{FOLDER}/teacher/checkpoint_best.pt" in task.command
    assert f"--finetune-from-model OUT/{FOLDER}/warm/checkpoint_best.pt" in task.command
    test, average = runs.decoding_task(TABLE, task), runs.average_task(TABLE, task)
    assert (test.run, test.record) == (task.name, task.name)
    assert (average.run, average.record) == (task.name, f"{task.name}+average")
    assert "dlf-average --checkpoint-dir" in average.command
    assert "--gen-subset test" not in average.command


def test_placeholders_become_folders(tmp_path):
    folders = {"OUT": tmp_path / "out", "DATA": tmp_path / "data", "CODE": ROOT, "RAW": tmp_path}
    words = runs.resolved(("fairseq-train", "DATA/bin", "--save-dir", "OUT/a", "--name", "OUTER/x", "RAW"), folders)
    assert Path(words[0]).name == "fairseq-train"
    assert words[1:] == [f"{tmp_path}/data/bin", "--save-dir", f"{tmp_path}/out/a", "--name", "OUTER/x", str(tmp_path)]


@pytest.mark.parametrize("row", TABLE.rows, ids=lambda row: row.name)
def test_fairseq_knows_every_option(row):
    pytest.importorskip("fairseq")
    from fairseq import options as fairseq_options

    import fairseq_dlf.translation  # noqa: F401

    tasks = [runs.warm_task(TABLE, row, 1), runs.teacher_task(TABLE, row, 1)]
    tasks += [runs.student_task(TABLE, row, 1, column, each) for column in TABLE.columns for each in column.settings]
    for task in tasks:
        words = [word.replace("CODE/", f"{ROOT}/", 1) for word in task.steps[0].command[1:]]
        parsed = fairseq_options.parse_args_and_arch(fairseq_options.get_training_parser(), words)
        assert (parsed.seed, parsed.criterion) == (1, words[words.index("--criterion") + 1])


def test_no_folder_of_a_machine_is_in_a_command():
    for column in TABLE.columns:
        task = runs.student_task(TABLE, ROW, 1, column, column.settings[0])
        for each in (task, runs.decoding_task(TABLE, task), runs.average_task(TABLE, task)):
            assert not any(word.startswith("/") for step in each.steps for word in step.command)


def test_a_column_may_replace_options_of_students():
    column = TABLE.column("actor_critic")
    words = options(column_task("actor_critic").steps[0].command)
    assert int(words["--max-update"]) - int(words["--critic-pretraining"]) == UPDATES
    tail = float(words["--tail-share"]) * int(words["--max-update"])
    assert tail == pytest.approx(UPDATES / 3, rel=1e-3)
    others = [each for each in TABLE.columns if each != column]
    assert {options(column_task(each.name).steps[0].command)["--max-update"] for each in others} == {str(UPDATES)}
