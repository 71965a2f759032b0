"""Bounds on what a preparation is asked for."""

import dataclasses

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.core.support.errors import InputError  # noqa: E402
from fairseq_dlf.translation.corpus.settings import PreparationSettings  # noqa: E402

GOOD = PreparationSettings("parallel", "de", "en", "subword_nmt", 50, False, 175, 9.0)


def test_files_are_named_by_split_and_language():
    assert GOOD.text_files == ["train.de", "train.en", "valid.de", "valid.en", "test.de", "test.en"]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("bpe", "wordpiece", "bpe is 'wordpiece', wanted one of subword_nmt, sentencepiece"),
        ("bpe_tokens", 0, "bpe_tokens is 0, but must lie between 1 and 100000"),
        ("max_length", 0, "max_length is 0, but must be at least 1"),
        ("max_ratio", float("nan"), "max_ratio is nan, but must be at least 1"),
        ("max_positions", 1, "max_positions is 1, but must be at least 2"),
        ("train_pairs", -1, "train_pairs is -1, but must not be negative"),
        ("misaligned", 1.5, "misaligned is 1.5, but must lie between 0 and 1"),
    ],
)
def test_values_out_of_range_are_named(setting, value, words):
    with pytest.raises(InputError, match=words) as caught:
        dataclasses.replace(GOOD, **{setting: value})
    assert caught.value.setting == setting


def test_languages_must_be_two_codes():
    with pytest.raises(InputError, match="both languages are de: name two"):
        dataclasses.replace(GOOD, target="de")
    with pytest.raises(InputError, match="language 'a/b' is not a code") as caught:
        dataclasses.replace(GOOD, source="a/b")
    assert caught.value.setting == "source_lang"
