"""Outputs of fairseq-generate and references as they are read, and as they are refused."""

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.core.support.errors import InputError, MissingFileError  # noqa: E402
from fairseq_dlf.translation.tools.generated import read_generated, read_references  # noqa: E402
from tests.translation.tools.made_outputs import REFERENCES, TOKENS, generated_text  # noqa: E402


@pytest.mark.parametrize("kinds", ["STHDP", "STHP"], ids=["H and D lines", "H lines only"])
def test_sentences_come_by_id_without_bpe_and_best_first(write, kinds):
    found = read_generated(write("a", generated_text(TOKENS, seed=5, bpe=True, kinds=kinds)), len(TOKENS), "@@ ")
    assert found.hypotheses == TOKENS and found.targets == TOKENS


def test_bpe_is_left_where_no_mark_is_given(write):
    found = read_generated(write("a", generated_text(TOKENS, bpe=True, kinds="STH")), len(TOKENS), "")
    assert found.hypotheses[7] == "people are walking down a street in th@@ e city ."


@pytest.mark.parametrize("odd", ["\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_odd_separators_neither_cut_nor_shift_a_sentence(write, odd):
    lines = [f"{line} x{odd}y" for line in REFERENCES]
    assert read_references(write("refs", "\n".join(lines) + "\n")) == lines
    hypotheses = [f"{line} x{odd}y" for line in TOKENS]
    assert read_generated(write("a", generated_text(hypotheses)), len(TOKENS), "@@ ").hypotheses == hypotheses


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(write):
    content = "\ufeff" + "".join(f"{line}\r\n" for line in REFERENCES)
    assert read_references(write("refs", content)) == REFERENCES
    output = "\ufeff" + generated_text(TOKENS).replace("\n", "\r\n")
    assert read_generated(write("a", output), len(TOKENS), "@@ ").hypotheses == TOKENS


GENERATED_ERRORS = {
    "skipped sentences": (
        generated_text(TOKENS[:-2]),
        r"6 of 8 sentences of refs.en \(missing ids: 6, 7\).*--required-batch-size-multiple 1.*--skip-invalid-size",
    ),
    "an id of 5,000 digits": (f"H-{'9' * 5000}\t0\tx\n", "no H lines"),
    "many skipped": (generated_text(TOKENS[:1]), r"1 of 8 sentences of .*refs.en \(missing ids: 1, 2, 3, 4, 5, …\)"),
    "too many sentences": (generated_text([*TOKENS, "more"], [*TOKENS, "more"]), "9 sentences, refs.en 8"),
    "no H lines": (generated_text(TOKENS, kinds="ST"), "no H lines.*--quiet"),
    "no T lines": (generated_text(TOKENS, kinds="SHD"), "no T lines"),
    "a T line lost": (generated_text(TOKENS).replace("T-3\t", "X-3\t"), r"lacks the T lines .*\(ids: 3\)"),
}


@pytest.mark.parametrize(("text", "message"), GENERATED_ERRORS.values(), ids=GENERATED_ERRORS)
def test_wrong_output_is_named(write, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_generated(write("output", text), len(TOKENS), "@@ ", "refs.en")
    assert "a folder/output" in str(caught.value)


REFERENCE_ERRORS = {
    "empty line": ("\n".join([*REFERENCES[:3], "", *REFERENCES[4:]]) + "\n", "empty reference.*line 4"),
    "blank line": ("\n".join([*REFERENCES[:3], " \t"]) + "\n", "empty reference.*line 4"),
    "empty file": ("", "empty reference.*whole file"),
}


@pytest.mark.parametrize(("text", "message"), REFERENCE_ERRORS.values(), ids=REFERENCE_ERRORS)
def test_empty_references_are_named(write, text, message):
    with pytest.raises(InputError, match=message):
        read_references(write("refs", text))


def test_what_is_missing_or_not_utf_8_is_named(write, tmp_path):
    with pytest.raises(MissingFileError, match="output of fairseq-generate not found.*nowhere"):
        read_generated(tmp_path / "nowhere", 8, "@@ ")
    with pytest.raises(InputError, match="references cannot be read from .*Is a directory"):
        read_references(tmp_path)
    write("refs", "").write_bytes("Straße\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"a folder/refs is not UTF-8 \(byte 4\): convert"):
        read_references(tmp_path / "a folder" / "refs")
    with pytest.raises(InputError, match=r"a folder/refs is not UTF-8 \(byte 4\): convert"):
        read_generated(tmp_path / "a folder" / "refs", 8, "@@ ")
