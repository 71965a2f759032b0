"""The toy grammar: right forms, disjoint splits, the same corpus for the same seed."""

import importlib.util
import random
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "recipes" / "toy_corpus.py"
spec = importlib.util.spec_from_file_location("toy_corpus", PATH)
toy_corpus = importlib.util.module_from_spec(spec)
sys.modules["toy_corpus"] = toy_corpus
spec.loader.exec_module(toy_corpus)


def noun(word):
    return next(one for nouns in toy_corpus.NOUNS.values() for one in nouns if one.singular == word)


def verb(infinitive):
    return next(one for one in toy_corpus.ALL_VERBS if one.prefix + one.infinitive == infinitive)


def read(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def write(folder, *options):
    assert toy_corpus.main(["--out", str(folder), "--pairs", "300", "--valid", "20", "--test", "30", *options]) == 0
    return read(folder)


@pytest.mark.parametrize(
    ("word", "case", "determiner", "adjective", "plural", "german", "english"),
    [
        ("Mann", "nominative", "the", "alt old", False, "der alte Mann", "the old man"),
        ("Mann", "accusative", "the", "alt old", False, "den alten Mann", "the old man"),
        ("Mann", "dative", "the", "alt old", False, "dem alten Mann", "the old man"),
        ("Mann", "nominative", "a", "alt old", False, "ein alter Mann", "an old man"),
        ("Mann", "accusative", "my", "", False, "meinen Mann", "my man"),
        ("Frau", "accusative", "this", "klug clever", False, "diese kluge Frau", "this clever woman"),
        ("Frau", "dative", "our", "klug clever", False, "unserer klugen Frau", "our clever woman"),
        ("Buch", "nominative", "a", "neu new", False, "ein neues Buch", "a new book"),
        ("Buch", "accusative", "the", "neu new", False, "das neue Buch", "the new book"),
        ("Kind", "dative", "the", "", True, "den Kindern", "the children"),
        ("Baby", "dative", "the", "", True, "den Babys", "the babies"),
        ("Frau", "dative", "this", "", True, "diesen Frauen", "these women"),
        ("Apfel", "accusative", "a", "rot red", True, "rote Äpfel", "red apples"),
        ("Apfel", "accusative", "a", "", False, "einen Apfel", "an apple"),
        ("Arzt", "dative", "a", "reich rich", True, "reichen Ärzten", "rich doctors"),
    ],
)
def test_noun_phrase_agrees_in_gender_case_and_number(word, case, determiner, adjective, plural, german, english):
    assert toy_corpus.noun_phrase(noun(word), case, determiner, adjective, plural) == (german, english)


@pytest.mark.parametrize(
    ("infinitive", "pronoun", "tense", "finite", "last", "english"),
    [
        ("kaufen", 0, "present", "kaufe", "", "buy"),
        ("kaufen", 1, "present", "kauft", "", "buys"),
        ("tragen", 0, "present", "trage", "", "carry"),
        ("tragen", 2, "present", "trägt", "", "carries"),
        ("mitnehmen", 3, "present", "nehmen", "mit", "take"),
        ("einladen", 4, "past", "luden", "ein", "invited"),
        ("kaufen", 3, "past", "kauften", "", "bought"),
        ("anrufen", 0, "perfect", "habe", "angerufen", "have already phoned"),
        ("anrufen", 1, "perfect", "hat", "angerufen", "has already phoned"),
        ("abholen", 2, "future", "wird", "abholen", "will pick"),
        ("helfen", 4, "modal", "können", "helfen", "can help"),
    ],
)
def test_verb_agrees_with_its_subject(infinitive, pronoun, tense, finite, last, english):
    parts = toy_corpus.verb_group(verb(infinitive), toy_corpus.PRONOUNS[pronoun], tense)
    assert (parts[0], parts[1], parts[3]) == (finite, last, english)


def test_word_order_of_a_separable_verb():
    clause = toy_corpus.Clause(
        "der Mann", "nimmt", "{time} das Buch", "mit", True, "heute", "the man takes along the book", "today"
    )
    assert toy_corpus.main_clause(clause, front=False) == (
        "der Mann nimmt heute das Buch mit",
        "the man takes along the book today",
    )
    assert toy_corpus.main_clause(clause, front=True) == (
        "heute nimmt der Mann das Buch mit",
        "today the man takes along the book",
    )
    assert toy_corpus.subordinate_clause(clause) == "der Mann heute das Buch mitnimmt"
    assert toy_corpus.inverted_clause(clause) == "nimmt der Mann heute das Buch mit"


def test_word_order_of_a_modal_puts_the_finite_verb_last_in_a_subordinate_clause():
    clause = toy_corpus.Clause("ich", "muss", "dem Kind", "helfen", False, "", "I must help the child", "")
    assert toy_corpus.main_clause(clause, front=False)[0] == "ich muss dem Kind helfen"
    assert toy_corpus.subordinate_clause(clause) == "ich dem Kind helfen muss"


@pytest.mark.parametrize(
    ("word", "adjective", "german"),
    [("Garten", "", "im Garten"), ("Küche", "", "in der Küche"), ("Haus", "alt old", "im alten Haus")],
)
def test_place_runs_the_preposition_and_the_article_together(word, adjective, german):
    assert toy_corpus.place(noun(word), adjective)[0] == german


def test_corpus_is_aligned_disjoint_and_looks_like_text(tmp_path):
    files = write(tmp_path)
    lines = {name: text.splitlines() for name, text in files.items()}
    assert {name: len(one) for name, one in lines.items()} == {
        "train.de": 300, "train.en": 300, "valid.de": 20, "valid.en": 20, "test.de": 30, "test.en": 30,
    }  # fmt: skip
    for language in ("de", "en"):
        everything = [line for split in ("train", "valid", "test") for line in lines[f"{split}.{language}"]]
        assert len(set(everything)) == 350
        assert all(line[0].isupper() and line.endswith(".") and "  " not in line for line in everything)
        assert not any(mark in line for line in everything for mark in "{}|-_")


def test_seed_decides_the_corpus(tmp_path):
    first = write(tmp_path / "first")
    assert write(tmp_path / "second") == first
    assert write(tmp_path / "other", "--seed", "2")["train.de"] != first["train.de"]


def test_more_training_pairs_leave_valid_and_test_as_they_are(tmp_path):
    first = write(tmp_path / "first")
    more = write(tmp_path / "more", "--pairs", "400")
    assert (more["valid.de"], more["test.en"]) == (first["valid.de"], first["test.en"])


def test_vocabulary_is_a_few_hundred_words():
    pairs = toy_corpus.generate(3000, seed=1)
    for language in (0, 1):
        words = {word.strip(".,").lower() for pair in pairs for word in pair[language].split()}
        assert 250 < len(words) < 700


def test_exhausted_grammar_is_an_error():
    def draw(rng: random.Random) -> tuple[str, str]:
        number = rng.randrange(5)
        return f"Satz {number}.", f"Sentence {number}."

    assert len(toy_corpus.generate(5, 1, draw)) == 5
    with pytest.raises(ValueError, match=r"only 5 distinct pairs, wanted 6: pass fewer --pairs"):
        toy_corpus.generate(6, 1, draw)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pairs", "0"], "--pairs is 0, wanted at least 1"),
        (["--valid", "-3"], "--valid is -3, wanted at least 1"),
        (["--pairs", "many"], "invalid int value"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as stop:
        toy_corpus.main(["--out", str(tmp_path / "out"), *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unwritable_folder_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert toy_corpus.main(["--out", str(tmp_path / "file"), "--pairs", "5"]) == 1
    error = capsys.readouterr().err
    assert "toy_corpus.py: error:" in error
    assert "Traceback" not in error
