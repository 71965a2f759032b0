"""Signatures of trainings, of this version and of versions before."""

import pytest

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.images.records.signatures import read_signature

OLD = "dlf-images|mlp:fresh|{loss}|sgd:lr0.1:m0.9:wd0:batch20:ep1|points20x1000|teacher:0123abcd|"
OLD += "data:mnist:f00dcafe:50000|seed:1|v0.1.0"


def test_this_versions_are_parsed():
    signature = Signature.of("dlf-images", {"model": "mlp", "loss": "smooth", "loss_options": {"sharpness": 50.0}})
    assert read_signature(str(signature)) == signature


def test_older_ones_get_the_names_of_today():
    found = read_signature(OLD.format(loss="smooth(sharpness=50,other=2)"))
    assert found.program == "dlf-images"
    assert dict(found.fields) == {
        "model": "mlp",
        "start": "fresh",
        "loss": "smooth",
        "loss_options": "sharpness=50,other=2",
        "sgd": "lr0.1:m0.9:wd0:batch20:ep1",
        "points20x1000": "",
        "teacher": "0123abcd",
        "data": "mnist",
        "fingerprint": "f00dcafe",
        "train_images": "50000",
        "seed": "1",
        "version": "0.1.0",
    }
    plain = read_signature(OLD.format(loss="cross_entropy()"))
    assert (plain.get("loss"), plain.get("loss_options", "none")) == ("cross_entropy", "")


def test_older_ones_differ_by_their_seeds_alone_where_only_these_differ():
    one, other = (read_signature(OLD.format(loss="dlf()").replace("seed:1", f"seed:{seed}")) for seed in (1, 2))
    assert one != other and one.without("seed") == other.without("seed")


@pytest.mark.parametrize("text", ["", "nonsense", "a|b", "a|b|c|d", "dlf|mlp:fresh|cross_entropy|seed"])
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match="signature is .*, but must be that of a training"):
        read_signature(text)
