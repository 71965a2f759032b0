import json
import random

import pytest

pytest.importorskip("fairseq")

from sacrebleu.metrics import BLEU  # noqa: E402

from fairseq_dlf.translation.tools import compare  # noqa: E402

REFERENCES = [
    "the little dog doesn't run after the red ball.",
    "two men, both old, stand in front of a shop.",
    "a woman in a blue coat is reading her book.",
    "some children play near the water of a lake.",
    "a man is selling fresh fruit at the market.",
    "three people wait for the bus in the rain.",
    "the girl with long hair looks out of a window.",
    "people are walking down a street in the city.",
]
# Moses tokens: what dlf-prepare makes of the references.
TOKENS = [line.replace("doesn't", "doesn &apos;t").replace(".", " .").replace(",", " ,") for line in REFERENCES]


def spoil(lines, every):
    """Replace the third word of every so-many-th line."""
    return [
        " ".join(line.split()[:2] + ["house"] + line.split()[3:]) if i % every == 0 else line
        for i, line in enumerate(lines)
    ]


def generated_text(hypotheses, targets=TOKENS, seed=0, bpe=False, kinds="STHDP"):
    """The lines of fairseq-generate in a random order of ids, as it prints them."""
    ids = list(range(len(hypotheses)))
    random.Random(seed).shuffle(ids)
    lines = []
    for i in ids:
        split = hypotheses[i].replace("the ", "th@@ e ") if bpe else hypotheses[i]
        entries = {
            "S": f"S-{i}\tein satz",
            "T": f"T-{i}\t{targets[i]}",
            "H": f"H-{i}\t-0.25\t{split}\nH-{i}\t-0.5\tsecond of the n-best list",
            "D": f"D-{i}\t-0.25\t{hypotheses[i]}\nD-{i}\t-0.5\tsecond of the n-best list",
            "P": f"P-{i}\t-0.1 -0.2",
        }
        lines += [entries[kind] for kind in kinds]
    return "\n".join([*lines, "Generate test with beam=5: BLEU4 = 30.00"]) + "\n"


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def references(write):
    return write("test.en", "\n".join(REFERENCES) + "\n")


def run(references, *systems, baseline="cross-entropy", **keywords):
    return compare.compare([compare.parse_system(s) for s in systems], baseline, references, **keywords)


def test_perfect_output_scores_100_in_both_columns(write, references):
    perfect, worse = write("a", generated_text(TOKENS)), write("b", generated_text(spoil(TOKENS, 2)))
    result = run(references, f"taught={perfect}", f"cross-entropy={worse}", bootstrap=50)
    baseline, taught = result.systems
    assert (baseline.name, baseline.is_baseline, baseline.runs[0].p_value) == ("cross-entropy", True, None)
    assert taught.bleu_mean == pytest.approx(100) and taught.tokenised_bleu_mean == pytest.approx(100)
    assert baseline.bleu_mean == pytest.approx(
        BLEU(lowercase=True).corpus_score(spoil(REFERENCES, 2), [REFERENCES]).score
    )
    assert 0 < taught.runs[0].p_value < 0.05 and taught.runs[0].interval_95 == pytest.approx((100, 100))


def test_signatures_are_those_of_sacrebleu(write, references):
    file = write("a", generated_text(TOKENS))
    result = run(references, f"cross-entropy={file}", bootstrap=20, seed=7)
    assert result.signature.startswith("nrefs:1|bs:20|seed:7|case:lc|eff:no|tok:13a|smooth:exp|version:")
    assert result.tokenised_signature.startswith("nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|version:")


@pytest.mark.parametrize("kinds", ["STHDP", "STHP"], ids=["H and D lines", "H lines only"])
def test_order_of_ids_bpe_and_n_best_change_nothing(write, references, kinds):
    plain = write("a", generated_text(spoil(TOKENS, 3)))
    other = write("b", generated_text(spoil(TOKENS, 3), seed=5, bpe=True, kinds=kinds))
    result = run(references, f"cross-entropy={plain}", f"other={other}", bootstrap=20)
    assert result.systems[1].bleu_mean == result.systems[0].bleu_mean < 100
    assert result.systems[1].tokenised_bleu_mean == result.systems[0].tokenised_bleu_mean


def test_several_seeds_give_mean_deviation_and_a_p_value_each(write, references):
    a1, a2 = (write(f"a{k}", generated_text(spoil(TOKENS, k))) for k in (1, 2))
    b1, b2 = (write(f"b{k}", generated_text(spoil(TOKENS, k))) for k in (3, 4))
    result = run(references, f"cross-entropy={a1},{a2}", f"taught={b1},{b2}", bootstrap=50)
    taught = result.systems[1]
    scores = [r.bleu for r in taught.runs]
    assert len(scores) == 2 and scores[0] < scores[1]
    assert taught.bleu_mean == pytest.approx(sum(scores) / 2)
    assert taught.bleu_sd == pytest.approx((scores[1] - scores[0]) / 2**0.5)
    assert all(0 < r.p_value <= 1 for r in taught.runs)
    table = compare.markdown(result)
    assert f"| taught, 2 seeds | {taught.bleu_mean:.2f} ± {taught.bleu_sd:.2f} |" in table
    assert f"| – {b1} | {scores[0]:.2f} |" in table


def test_seed_of_the_resampling_leaves_the_environment_alone(write, references, monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "99")
    file, other = write("a", generated_text(spoil(TOKENS, 2))), write("b", generated_text(spoil(TOKENS, 3)))
    systems = [f"cross-entropy={file}", f"other={other}"]
    first, again, another = (run(references, *systems, bootstrap=30, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.systems[1].runs[0].interval_95 != another.systems[1].runs[0].interval_95
    assert compare.os.environ["SACREBLEU_SEED"] == "99"


def test_command_prints_the_table_and_writes_json(write, references, tmp_path, capsys):
    file, target = write("a", generated_text(TOKENS)), tmp_path / "result.json"
    arguments = ["--references", str(references), "--baseline", "cross-entropy", "--bootstrap", "20"]
    assert compare.main([*arguments, "--json", str(target), f"cross-entropy={file}"]) == 0
    printed, stored = capsys.readouterr().out, json.loads(target.read_text())
    assert "| cross-entropy (baseline) | 100.00 | 100.00–100.00 |  | 100.00 |" in printed
    assert stored["signature"] in printed and stored["sentences"] == len(REFERENCES)
    assert stored["systems"][0]["runs"][0]["bleu"] == pytest.approx(100)


GOOD = generated_text(TOKENS)
ERRORS = {
    "file missing": (None, {}, "not found.*nowhere"),
    "skipped sentences": (
        generated_text(TOKENS[:-2]),
        {},
        r"6 of 8 sentences \(missing ids: 6, 7\).*--skip-invalid-size-inputs-valid-test",
    ),
    "too many sentences": (
        generated_text([*TOKENS, "more"], [*TOKENS, "more"]),
        {},
        "9 sentences, the references 8",
    ),
    "no H lines": (generated_text(TOKENS, kinds="ST"), {}, "no H lines.*--quiet"),
    "no T lines": (generated_text(TOKENS, kinds="SHD"), {}, "no T lines"),
    "baseline unknown": (GOOD, {"baseline": "nobody"}, "baseline 'nobody' is not among.*cross-entropy"),
    "other targets": (generated_text(TOKENS, spoil(TOKENS, 4)), {}, "T lines of .* differ"),
}


@pytest.mark.parametrize(("text", "keywords", "message"), ERRORS.values(), ids=ERRORS)
def test_wrong_output_is_named(write, references, tmp_path, text, keywords, message):
    file = tmp_path / "nowhere" if text is None else write("other", text)
    with pytest.raises(ValueError, match=message):
        run(references, f"cross-entropy={write('good', GOOD)}", f"other={file}", **keywords)


REFERENCE_ERRORS = {
    "empty line": ("\n".join([*REFERENCES[:3], "", *REFERENCES[4:]]) + "\n", "empty reference.*line 4"),
    "empty file": ("", "empty reference.*whole file"),
    "other order": ("\n".join(reversed(REFERENCES)) + "\n", "do not match the references.*corpus order"),
}


@pytest.mark.parametrize(("text", "message"), REFERENCE_ERRORS.values(), ids=REFERENCE_ERRORS)
def test_wrong_references_are_named(write, text, message):
    with pytest.raises(ValueError, match=message):
        run(write("refs", text), f"cross-entropy={write('good', GOOD)}")


def test_systems_must_have_one_name_and_as_many_seeds_as_the_baseline(write, references):
    file = write("good", GOOD)
    with pytest.raises(ValueError, match="taught has 2 files, the baseline 1"):
        run(references, f"cross-entropy={file}", f"taught={file},{file}")
    with pytest.raises(ValueError, match="named twice.*NAME=FILE1,FILE2"):
        run(references, f"cross-entropy={file}", f"cross-entropy={file}")


ARGUMENT_ERRORS = {
    "no file": (["cross-entropy"], "wanted NAME=FILE"),
    "seed 0": (["--seed", "0", "cross-entropy=x"], "wanted 1 or more"),
    "no resamples": (["--bootstrap", "0", "cross-entropy=x"], "wanted 1 or more"),
}


@pytest.mark.parametrize(("arguments", "message"), ARGUMENT_ERRORS.values(), ids=ARGUMENT_ERRORS)
def test_wrong_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        compare.main(["--references", "x", "--baseline", "cross-entropy", *arguments])
    assert message in capsys.readouterr().err


def test_an_error_reaches_the_user_as_one_line(write, references, capsys):
    file = write("good", GOOD)
    arguments = ["--references", str(references), "--baseline", "nobody", f"cross-entropy={file}"]
    assert compare.main(arguments) == 1
    assert capsys.readouterr().err.startswith("dlf-compare: baseline 'nobody'")
