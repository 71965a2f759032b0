"""fairseq's command line: its help, and a teacher that is not there."""

import pytest
from fairseq import options

import fairseq_dlf.translation.plugins  # noqa: F401
from fairseq_dlf.core.support.errors import MissingFileError
from fairseq_dlf.translation.hooks.parsing import parse, watch_parsing

TEACHING = ["--task=dlf_teaching", "--arch=dlf_teacher", "--criterion=dlf_teaching", "--optimizer=dlf_rprop"]
STUDENT = ["data", "--task=translation", "--arch=lstm", "--criterion=dlf", "--optimizer=sgd", "--batch-size=4"]


def parsed(words):
    return options.parse_args_and_arch(options.get_training_parser(), words)


@pytest.mark.parametrize("word", ["-h", "--help"])
@pytest.mark.parametrize("data", [[], ["data"]])
def test_help_has_the_options_of_task_model_criterion_and_optimizer(word, data, capsys):
    with pytest.raises(SystemExit) as ended:
        parsed([*data, word, *TEACHING])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for option in ("--student-steps", "--teacher-kind", "--rprop-shrink", "--save-dir", "--max-update"):
        assert option in printed
    assert "--r-drop-weight" not in printed


def test_help_of_other_commands_is_shown(capsys):
    with pytest.raises(SystemExit) as ended:
        options.parse_args_and_arch(options.get_generation_parser(), ["--help", "--task=dlf_translation"])
    assert ended.value.code == 0
    assert "--expected-bleu-every" in capsys.readouterr().out


def test_without_help_options_are_parsed_as_fairseq_does():
    watch_parsing()
    assert options.parse_args_and_arch is parse
    assert parsed(STUDENT).criterion == "dlf"


def test_a_missing_teacher_is_named_before_anything_is_loaded(tmp_path, monkeypatch):
    there = tmp_path / "teacher.pt"
    there.touch()
    monkeypatch.setattr("sys.argv", ["fairseq-train", *STUDENT, f"--teacher={there}"])
    assert parsed(None).teacher == str(there)
    there.unlink()
    with pytest.raises(MissingFileError, match="--teacher .* does not exist: train one"):
        parsed(None)


def test_words_that_nobody_typed_may_name_a_teacher_that_is_gone():
    assert parsed([*STUDENT, "--teacher=none.pt"]).teacher == "none.pt"
