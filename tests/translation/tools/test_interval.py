"""BLEU and its interval against sacrebleu's paired bootstrap, whose seed is in the environment."""

import os

import pytest

pytest.importorskip("fairseq")

from sacrebleu.metrics import BLEU  # noqa: E402
from sacrebleu.significance import PairedTest  # noqa: E402

from fairseq_dlf.translation.tools.interval import resampled_bleu  # noqa: E402
from tests.translation.tools.made_outputs import REFERENCES, spoil  # noqa: E402


def test_a_system_has_the_interval_that_it_has_beside_others(monkeypatch):
    systems = {"first": spoil(REFERENCES, 3), "second": spoil(REFERENCES, 4)}
    found = [resampled_bleu(lines, REFERENCES, resamples=40, seed=3) for lines in systems.values()]
    monkeypatch.setenv("SACREBLEU_SEED", "3")
    signatures, scores = PairedTest(
        list(systems.items()), {"BLEU": BLEU(lowercase=True)}, [REFERENCES], "bs", n_samples=40
    )()
    wanted = [(str(signatures["BLEU"]), each.score, each.mean, each.ci) for each in scores["BLEU"]]
    assert [tuple(each) for each in found] == wanted
    assert found[0].signature.startswith("nrefs:1|bs:40|seed:3|case:lc|eff:no|tok:13a|smooth:exp|version:")
    assert all(each.half_width > 1 for each in found)


@pytest.mark.parametrize("before", ["99", None])
def test_the_seed_leaves_the_environment_alone(monkeypatch, before):
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)
    if before is not None:
        monkeypatch.setenv("SACREBLEU_SEED", before)
    first, again, other = (resampled_bleu(spoil(REFERENCES, 2), REFERENCES, 30, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.half_width != other.half_width
    assert os.environ.get("SACREBLEU_SEED") == before
