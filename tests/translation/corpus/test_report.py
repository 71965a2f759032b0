"""Counts of a preparation."""

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.translation.corpus.report import differences_from_recipe, report_of  # noqa: E402
from fairseq_dlf.translation.corpus.settings import SPLITS  # noqa: E402


def test_lines_words_and_subwords_are_counted(tmp_path):
    (tmp_path / "tokenized").mkdir()
    for split in SPLITS:
        for language, word in (("de", "wort"), ("en", "word")):
            (tmp_path / f"tokenized/{split}.{language}").write_text(f"{word}\n\n{word} .\n")
            (tmp_path / f"bpe.{split}.{language}").write_text(f"w@@ {word}\n\nw@@ {word} .\n")
    report = report_of(tmp_path, ("de", "en"))
    assert report.lines == {split: 3 for split in SPLITS}
    assert report.table.splitlines()[1].split() == ["train", "3", "3", "5", "3", "5"]
    assert report.table.splitlines()[0].split("  ")[-1] == "en subwords"


def test_other_sizes_than_the_recipe_are_told():
    assert differences_from_recipe({"train": 160_239, "valid": 7_283, "test": 6_750}) == []
    notes = differences_from_recipe({"train": 160_239, "valid": 7_000, "test": 6_750})
    assert len(notes) == 1 and "valid has 7,000 lines" in notes[0] and "7,283" in notes[0]
