"""Scores and statistics of an output, beside those of dlf-compare and sacrebleu."""

import pytest

pytest.importorskip("fairseq")

from sacrebleu.metrics import BLEU  # noqa: E402

from experiments.scoring import decoding, statistics_of  # noqa: E402
from experiments.significance import corpus_bleu  # noqa: E402

REFERENCES = ("A dog's bowl is here.", "Two men sit on a bench , today.", "The girl plays with a ball.")
TARGETS = ("a dog 's bowl is here .", "two men sit on a bench , today .", "the girl plays with a ball .")
HYPOTHESES = ("a dog 's bowl is there .", "two men sit on the bench , today .", "the girl plays with a ball .")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "references").write_text("".join(f"{line}\n" for line in REFERENCES))
    # fairseq-generate prints sentences in the order of their lengths.
    blocks = [f"T-{n}\t{TARGETS[n]}\nH-{n}\t-1\t{HYPOTHESES[n]}\nD-{n}\t-1\t{HYPOTHESES[n]}\n" for n in (2, 0, 1)]
    (tmp_path / "generated").write_text("INFO | some line\n" + "".join(blocks) + "Generate test with beam=5\n")
    return tmp_path / "generated", tmp_path / "references"


def test_scores(files):
    found = decoding(*files, "en", "a command", "abc")
    plain = ["a dog's bowl is there.", "two men sit on the bench, today.", "the girl plays with a ball."]
    assert found.bleu == BLEU(lowercase=True).corpus_score(plain, [list(REFERENCES)]).score
    tokenised = BLEU(tokenize="none", force=True)
    assert found.tokenised_bleu == tokenised.corpus_score(list(HYPOTHESES), [list(TARGETS)]).score
    assert found.interval_95[0] < found.interval_95[1]
    assert ("case:lc" in found.signature, "tok:none" in found.tokenised_signature) == (True, True)
    assert (found.sentences, found.command, found.commit) == (3, "a command", "abc")


def test_statistics_give_the_same_bleu(files):
    statistics = statistics_of(*files, "en")
    assert statistics.shape == (3, 10)
    assert corpus_bleu(statistics.sum(0)) == pytest.approx(decoding(*files, "en", "", "").bleu, abs=1e-9)


def test_the_digest_is_of_the_sentences_in_their_order(files):
    before = decoding(*files, "en", "", "").hypotheses
    generated = files[0]
    generated.write_text(generated.read_text().replace("some line", "other seconds"))
    assert decoding(*files, "en", "", "").hypotheses == before
    generated.write_text(generated.read_text().replace("there .", "now ."))
    assert decoding(*files, "en", "", "").hypotheses != before
