"""What can be compared, and what cannot."""

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.core.support.errors import InputError  # noqa: E402
from fairseq_dlf.translation.tools.comparison_settings import System  # noqa: E402
from fairseq_dlf.translation.tools.outputs import detokenised, read_outputs, require_comparable  # noqa: E402
from tests.translation.tools.made_outputs import GOOD, REFERENCES, TOKENS, generated_text, spoil  # noqa: E402


def read(references, **files):
    return read_outputs([System(name, (file,)) for name, file in files.items()], references, "@@ ", "en")


def test_hypotheses_targets_and_references_are_in_the_order_of_the_corpus(write, references):
    files = {"first": write("a", GOOD), "second": write("b", generated_text(spoil(TOKENS, 3), seed=5))}
    found = read(references, **files)
    assert [found.generated[name][0].hypotheses for name in files] == [TOKENS, spoil(TOKENS, 3)]
    assert (found.targets, found.references) == (TOKENS, REFERENCES)


def test_tokens_become_text():
    assert detokenised(TOKENS, "en") == REFERENCES


def test_other_targets_are_named(write, references):
    other = write("other", generated_text(TOKENS, spoil(TOKENS, 4)))
    with pytest.raises(InputError, match="T lines of .*other differ from those of .*good.*same data-bin"):
        read(references, first=write("good", GOOD), second=other)


def test_references_in_another_order_are_named(write):
    reverse = write("refs", "\n".join(reversed(REFERENCES)) + "\n")
    with pytest.raises(InputError, match="do not match the references.*corpus order") as caught:
        read(reverse, first=write("good", GOOD))
    assert caught.value.setting == "bpe"


def test_systems_must_have_one_name_and_as_many_seeds_as_the_baseline(tmp_path):
    file = tmp_path / "a"
    with pytest.raises(InputError, match="taught has 2 files, the baseline 1"):
        require_comparable([System("plain", (file,)), System("taught", (file, file))], "plain")
    with pytest.raises(InputError, match="named twice.*NAME=FILE1,FILE2"):
        require_comparable([System("a", (file,)), System("a", (file,))], "a")
    with pytest.raises(InputError, match="baseline 'nobody' is not among.*plain") as caught:
        require_comparable([System("plain", (file,))], "nobody")
    assert caught.value.setting == "baseline"
