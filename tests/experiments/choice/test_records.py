"""Records of pairs as files."""

import pytest

from experiments.choice.records import PairRecords
from fairseq_dlf.core.support.errors import InputError
from tests.experiments.choice.made_pairs import move, pair


def test_a_record_comes_back_as_it_was(tmp_path):
    records = PairRecords(tmp_path)
    for cosine in (0.25, None):
        made = pair("bins(number=4,linear=1)", "sharpened_likelihood(sharpness=5)", cosine)
        records.write(made)
        assert records.read(made.form, made.measure) == made
    assert records.read("diagonal", "sampled_bleu") is None
    records.write(pair())
    assert list(records.all()) == [made, pair()]
    assert (
        records.path(made.form, made.measure)
        == tmp_path / "bins_number-4_linear-1/sharpened_likelihood_sharpness-5.json"
    )


def test_a_damaged_record_is_refused(tmp_path):
    records = PairRecords(tmp_path)
    records.write(pair())
    path = records.path("diagonal", "sampled_bleu")
    path.write_text(path.read_text().replace('"cosine": 0.25', '"cosine": "much"'))
    with pytest.raises(InputError, match=r"sampled_bleu.json is damaged .*cosine"):
        records.read("diagonal", "sampled_bleu")


def test_half_the_difference_of_both_sides():
    assert move().half_measure == pytest.approx(0.01)
