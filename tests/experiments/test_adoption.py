"""The options in the log of a training that something else started."""

import pytest

from experiments.adoption import commit_of, require_same_options
from fairseq_dlf.core.support.errors import InputError

CONFIGURATION = (
    "{'_name': None, 'common': {'_name': None, 'seed': 1, 'user_dir': '/nowhere/code/fairseq_dlf'}, "
    "'optimization': {'lr': [0.002], 'max_epoch': 18, 'clip_norm': 1.0}, 'optimizer': {'_name': 'adam'}, "
    "'model': Namespace(arch='lstm_dlf_1', seed=1, eval_bleu=True, eval_bleu_args='{\"beam\": 1}', "
    "eval_bleu_remove_bpe='@@ ', sentence_avg=False, patience=None)}"
)
LOG = f"a line\n2026-01-01 10:00:00 | INFO | fairseq_cli.train | {CONFIGURATION}\nanother | line"
WORDS = ["--user-dir", "CODE/fairseq_dlf", "--save-dir", "OUT/a", "--log-format", "json", "--arch", "lstm_dlf_1"]
WORDS += ["--lr", "2e-3", "--max-epoch", "18", "--optimizer", "adam", "--eval-bleu", "--eval-bleu-remove-bpe"]
WORDS += ["--eval-bleu-args", '{"beam": 1}', "--clip-norm", "1", "--seed", "1"]


def test_the_same_options_pass():
    require_same_options(LOG, WORDS, "a/warm")


@pytest.mark.parametrize(
    "before, after, shown",
    [
        ("2e-3", "1e-3", "a/warm was trained with lr .0.002., the table declares 1e-3"),
        ("adam", "sgd", "optimizer 'adam'"),
        ("lstm_dlf_1", "lstm_dlf_2", "arch 'lstm_dlf_1'"),
        ("--eval-bleu", "--sentence-avg", "sentence-avg False"),
        ("--eval-bleu", "--patience", "patience None"),
        ("--eval-bleu", "--no-such", "no-such nothing"),
        ("--seed", "--eval-bleu", "eval-bleu True"),
    ],
)
def test_another_option_is_named(before, after, shown):
    with pytest.raises(InputError, match=shown):
        require_same_options(LOG, [after if word == before else word for word in WORDS], "a/warm")


def test_the_last_configuration_counts():
    later = CONFIGURATION.replace("'max_epoch': 18", "'max_epoch': 20")
    log = f"{LOG}\n2026-01-01 11:00:00 | INFO | fairseq_cli.train | {later}"
    with pytest.raises(InputError, match="max-epoch 20"):
        require_same_options(log, WORDS, "a/warm")


@pytest.mark.parametrize("log", ["", "nothing of fairseq", "x | fairseq_cli.train | {'cut': [1, "])
def test_a_log_without_a_configuration_is_refused(log):
    with pytest.raises(InputError, match="no configuration"):
        require_same_options(log, WORDS, "a/warm")


def test_the_commit_of_code_that_is_gone_is_unknown():
    assert commit_of(LOG) == "unknown"
    assert commit_of("") == "unknown"
