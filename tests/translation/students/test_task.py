"""The task `dlf_translation`: its options, and what it measures at validation."""

import pytest

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.students.task import DlfTranslationConfig, DlfTranslationTask
from tests.translation.tiny_runs import dictionary


def task_with(**options) -> DlfTranslationTask:
    return DlfTranslationTask(DlfTranslationConfig(seed=1, **options), dictionary(), dictionary())


@pytest.mark.parametrize("given", ['{"beam": 2, "lenpen": 0.6}', "{}", None])
def test_generation_options_are_taken(given):
    assert task_with(eval_bleu_args=given).cfg.eval_bleu


def test_they_do_not_matter_without_dev_bleu():
    assert not task_with(eval_bleu_args="{bad", no_dev_bleu=True).cfg.eval_bleu


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eval_bleu_args": "{bad"}, r"--eval-bleu-args is \{bad, which is not JSON .*wanted a JSON object such as"),
        ({"eval_bleu_args": "[]"}, r"--eval-bleu-args is \[\], a list: wanted a JSON object"),
        ({"eval_bleu_args": "7"}, "--eval-bleu-args is 7, a int: wanted a JSON object"),
        ({"eval_bleu_args": '{"beam": 0}'}, "has a beam of 0, but it must be 1 or more"),
        ({"eval_bleu_args": '{"beam": "many"}'}, "has a beam of 'many'"),
        ({"eval_bleu_args": '{"beam": true}'}, "has a beam of True"),
        ({"expected_bleu_every": 0}, "--expected-bleu-every is 0, but must be at least 1"),
    ],
)
def test_other_options_are_named(options, words):
    with pytest.raises(InputError, match=words):
        task_with(**options)
