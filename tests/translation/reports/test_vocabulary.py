"""Words and frequencies from the dictionary of a data-bin."""

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.translation.reports.vocabulary import frequency_bands, read_vocabulary
from tests.translation.reports.made_teachers import FIRST, TYPES, WORDS


def test_words_and_frequencies_are_those_of_the_dictionary(data):
    vocabulary = read_vocabulary(str(data))
    assert len(vocabulary) == TYPES
    assert [vocabulary.word(FIRST + place) for place in range(len(WORDS))] == list(WORDS)
    assert [vocabulary.frequency(place) for place in (FIRST, TYPES - 1, vocabulary.dictionary.eos())] == [
        "1,000",
        "–",
        "–",
    ]


def test_what_is_no_target_in_train_has_no_row(vocabulary):
    found = [vocabulary.word(place) for place in vocabulary.occurs.nonzero().flatten().tolist()]
    assert found == ["</s>", *(word for word in WORDS if word != "never")]


def test_chosen_words_are_found_once_each(vocabulary):
    assert vocabulary.places(["house", "the", "house"]) == [FIRST + 2, FIRST]


def test_an_unknown_word_is_refused_with_near_ones(vocabulary):
    with pytest.raises(
        InputError, match="'houses' is no type of the target dictionary, .*: did you mean house"
    ) as caught:
        vocabulary.places(["the", "houses"])
    assert caught.value.setting == "words"
    with pytest.raises(InputError, match="did you mean the, ,, house"):
        vocabulary.places(["qqqqqq"])


def test_the_target_language_is_that_of_the_files_or_the_given_one(data):
    (data / "dict.fr.txt").write_text("le 3\n")
    assert len(read_vocabulary(str(data))) == TYPES
    assert len(read_vocabulary(str(data), "fr")) == 5
    assert len(read_vocabulary(f"{data}:/other")) == TYPES


def test_wrong_folders_are_refused(data, tmp_path):
    with pytest.raises(MissingFileError, match="no data-bin at .*nowhere"):
        read_vocabulary(str(tmp_path / "nowhere"))
    with pytest.raises(
        MissingFileError, match="no dictionary .*dict.fr.txt, but dict.de.txt, dict.en.txt: name another"
    ):
        read_vocabulary(str(data), "fr")
    (data / "dict.en.txt").write_text("no number\n")
    with pytest.raises(InputError, match="dictionary .*dict.en.txt is damaged"):
        read_vocabulary(str(data))
    for path in data.glob("train.*"):
        path.unlink()
    with pytest.raises(InputError, match="do not tell which language is the target: name it") as caught:
        read_vocabulary(str(data))
    assert caught.value.setting == "target_lang"


def test_bands_are_equally_wide_in_log_frequency():
    counts = torch.tensor([1.0, 2.0, 100.0, 200.0, 10_000.0])
    values = torch.tensor([1.0, 3.0, 5.0, 6.0, 7.0])
    middles, means, types = frequency_bands(counts, values, 4)
    assert types.tolist() == [2, 2, 1] and means.tolist() == [2.0, 5.5, 7.0]
    torch.testing.assert_close(middles, torch.tensor([2**0.5, 2e4**0.5, 1e4], dtype=torch.float64))


def test_types_of_one_frequency_are_one_band():
    middles, means, types = frequency_bands(torch.full((3,), 5.0), torch.tensor([1.0, 2.0, 6.0]))
    assert types.tolist() == [3] and means.tolist() == [3.0] and middles.tolist() == pytest.approx([5.0])
