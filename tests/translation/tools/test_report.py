"""A comparison as Markdown and JSON."""

import dataclasses
import json

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.translation.tools.comparison import Comparison, SystemScore  # noqa: E402
from fairseq_dlf.translation.tools.flags import Flags  # noqa: E402
from fairseq_dlf.translation.tools.report import markdown, to_json  # noqa: E402
from fairseq_dlf.translation.tools.run_score import RunScore  # noqa: E402

NONE = Flags([], [])
BASELINE = RunScore("a.txt", 20.0, 0.9, 0.905, 20.1, (18.1, 22.1), None, 45.0, 21.0, NONE, 20.0, None)
BETTER = RunScore("b.txt", 22.0, 1.0, 1.1, 22.2, (20.2, 24.2), 0.0123, 47.0, 23.0, NONE, 22.0, 0.0123)
OTHER = RunScore("c.txt", 24.0, 1.0, 1.2, 24.1, (22.1, 26.1), 0.0001, 49.0, 24.5, NONE, 24.0, 0.0001)
SECOND = dataclasses.replace(BASELINE, file="d.txt")


def system(name, is_baseline, *runs):
    several = len(runs) > 1
    means = {"bleu_mean": 23.0, "chrf_mean": 48.0, "tokenised_bleu_mean": 23.75}
    deviations = {"bleu_sd": 1.4142, "chrf_sd": 1.5, "tokenised_bleu_sd": 1.0607}
    return SystemScore(
        name, is_baseline, list(runs), **means, **{n: d if several else None for n, d in deviations.items()}
    )


def comparison(*systems, flagged=()):
    signatures = ("nrefs:1|tok:13a", "nrefs:1|tok:none", "nrefs:1|nc:6", "approximate-randomisation|sides:2")
    return Comparison(1234, *signatures, list(flagged), list(systems))


ONE_SEED = comparison(system("warm", True, BASELINE), system("taught", False, BETTER))
TWO_SEEDS = comparison(system("warm", True, BASELINE, SECOND), system("taught", False, BETTER, OTHER))


def flat(text):
    """Text without its line breaks."""
    return " ".join(text.split())


def test_rows_hold_scores_interval_and_p_value():
    lines = markdown(ONE_SEED).splitlines()
    assert "| p (two-sided) against baseline | BP | length ratio | chrF |" in lines[0]
    assert lines[2:5] == [
        "| warm (baseline) | 20.00 | 18.10–22.10 |  | 0.900 | 0.905 | 45.00 | 21.00 |",
        "| taught | 22.00 | 20.20–24.20 | 0.012 | 1.000 | 1.100 | 47.00 | 23.00 |",
        "",
    ]
    assert lines[-4:] == [
        "detokenised: `nrefs:1|tok:13a`",
        "tokenised: `nrefs:1|tok:none`",
        "chrF: `nrefs:1|nc:6`",
        "p: `approximate-randomisation|sides:2`",
    ]
    assert all(len(line) <= 110 for line in lines[5:])


def test_one_seed_has_no_deviation_and_no_word_of_it():
    text = flat(markdown(ONE_SEED))
    assert "1,234 sentences" in text and "p: two-sided, by approximate randomisation" in text
    assert "±" not in text and "i-th file" not in text


def test_several_seeds_have_means_with_deviations_and_are_tested_one_by_one():
    text = markdown(TWO_SEEDS)
    assert text.splitlines()[5:8] == [
        "| taught, 2 seeds | 23.00 ± 1.41 |  |  |  |  | 48.00 ± 1.50 | 23.75 ± 1.06 |",
        "| – b.txt | 22.00 | 20.20–24.20 | 0.012 | 1.000 | 1.100 | 47.00 | 23.00 |",
        "| – c.txt | 24.00 | 22.10–26.10 | <0.001 | 1.000 | 1.200 | 49.00 | 24.50 |",
    ]
    assert "The i-th file of each system is tested against the baseline's i-th file" in flat(text)
    assert "± is the standard deviation over seeds" in flat(text)


def test_a_system_alone_is_not_tested():
    text = markdown(comparison(system("warm", True, BASELINE)))
    assert "randomisation" not in text and "p: " not in text


def test_a_note_stands_under_the_table_and_in_the_json():
    assert markdown(ONE_SEED, "A toy.").split("\n\n")[1] == "A toy."
    assert json.loads(to_json(ONE_SEED, "Ein Märchen."))["note"] == "Ein Märchen."


def test_flagged_outputs_are_told_with_their_numbers_and_bleu_without_them():
    looping = dataclasses.replace(
        BASELINE, flags=Flags(list(range(3, 15)), [3]), bleu_without_flagged=21.75, p_without_flagged=None
    )
    better = dataclasses.replace(BETTER, bleu_without_flagged=22.25, p_without_flagged=0.6)
    found = comparison(system("warm", True, looping), system("taught", False, better), flagged=range(3, 15))
    text = markdown(found)
    assert "**Warning: outputs of 12 of 1,234 sentences loop or are far too long**" in flat(text)
    assert "| warm (baseline) | 12: 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, … | 1: 3 | 21.75 |  |" in text
    assert "| taught | 0 | 0 | 22.25 | 0.600 |" in text


def test_no_flagged_output_is_said_too():
    assert "No output loops" in markdown(ONE_SEED) and "Warning" not in markdown(ONE_SEED)


def test_where_every_sentence_is_flagged_nothing_is_left_to_score():
    run = dataclasses.replace(BASELINE, flags=Flags([0], []), bleu_without_flagged=None)
    assert "| warm (baseline) | 1: 0 | 0 | – |  |" in markdown(comparison(system("warm", True, run), flagged=[0]))


def test_json_holds_all_figures():
    stored = json.loads(to_json(TWO_SEEDS))
    assert stored["sentences"] == 1234 and stored["signature"] == "nrefs:1|tok:13a"
    assert stored["p_signature"] == "approximate-randomisation|sides:2"
    run = stored["systems"][1]["runs"][0]
    assert (run["interval_95"], run["brevity_penalty"], run["chrf"]) == ([20.2, 24.2], 1.0, 47.0)
    assert run["flags"] == {"loops": [], "long": []}
    assert stored["systems"][0]["runs"][0]["p_value"] is None
