"""The command: pairs, their records, what goes on, and mistakes."""

import json

import pytest

from experiments.choice import pairs
from experiments.choice.command_line import build_parser, specs
from experiments.choice.records import PairRecords
from experiments.command_line import main

SMALL = ["--moves=0.2", "--dev-sentences=4", "--unseen-sentences=3", "--forms=bins(number=2,linear=1)"]
TEACHING = ["--", "--student-steps=3", "--batch-size=4", "--cpu"]
MEASURES = "sampled_bleu,sharpened_likelihood(sharpness=3)"


@pytest.fixture
def call(files, tmp_path, capsys):
    def run(*given, teaching=TEACHING, student=None):
        data, own = files
        places = [f"--data={data}", f"--student={student or own}", f"--results={tmp_path}"]
        status = main(["choice", *places, *SMALL, *given, *teaching])
        return status, *capsys.readouterr()

    return run


def contents(folder):
    return {path: path.read_text() for path in sorted(folder.rglob("*.json"))}


def without_times(text):
    found = json.loads(text)
    del found["figures"]["seconds"], found["commit"]
    return found


def test_pairs_are_recorded_and_not_run_again(call, tmp_path, monkeypatch):
    status, printed, _ = call(f"--measures={MEASURES}")
    assert status == 0
    assert "bins(number=2,linear=1), sampled_bleu: cosine " in printed
    made = contents(tmp_path)
    assert [path.name for path in made] == ["sampled_bleu.json", "sharpened_likelihood_sharpness-3.json"]
    (record,) = [each for each in PairRecords(tmp_path / "choice").all() if each.measure == "sampled_bleu"]
    assert record.command.startswith(
        "python -m experiments choice --data DATA --student STUDENT --measures sampled_bleu "
    )
    assert record.command.endswith(" --student-steps=3 --batch-size=4 --cpu")
    assert "|moves:0.2|" in record.signature and "measure=sampled_bleu,candidates=8" in record.signature
    monkeypatch.setattr(pairs, "pairs_of", None)
    assert call(f"--measures={MEASURES}")[0] == 0
    assert contents(tmp_path) == made


def test_a_table_that_was_stopped_goes_on_to_the_same_figures(call, tmp_path):
    assert call(f"--measures={MEASURES}")[0] == 0
    made = contents(tmp_path)
    lost, kept = made
    lost.unlink()
    assert call(f"--measures={MEASURES}")[0] == 0
    again = contents(tmp_path)
    assert again[kept] == made[kept]
    assert without_times(again[lost]) == without_times(made[lost])


def test_records_of_other_options_are_refused(call):
    assert call("--measures=sharpened_likelihood")[0] == 0
    status, _, error = call("--measures=sharpened_likelihood", "--seed=2")
    assert status == 1
    assert "was made with other options: " in error and "seed is 1, the other has 2" in error and "(--results)" in error
    other = ["--", "--student-steps=2", "--batch-size=4", "--cpu"]
    assert "steps is 3, the other has 2" in call("--measures=sharpened_likelihood", teaching=other)[2]


def test_the_report_needs_neither_data_nor_student(call, tmp_path, capsys):
    assert main(["choice", "--report", f"--results={tmp_path}"]) == 1
    assert "there is no record in" in capsys.readouterr().err
    assert call("--measures=sharpened_likelihood")[0] == 0
    assert main(["choice", "--report", f"--results={tmp_path}"]) == 0
    assert capsys.readouterr().out.startswith("## Choice of measure and form\n\n| form | direction of | cosine |")


@pytest.mark.parametrize(
    ("given", "teaching", "words"),
    [
        (["--measures=greedy_bleu"], TEACHING, "the measure greedy_bleu has no gradient, so that nothing goes back"),
        (["--measures=loud"], TEACHING, "sharpened_likelihood (--measures)"),
        (["--forms=round"], TEACHING, "token_network (--forms)"),
        (["--dev-sentences=12"], TEACHING, "dev has 12 sentences, of which measures are to see 12"),
        (["--dev-sentences=3"], TEACHING, "3 dev sentences cannot be halved: take an even number (--dev-sentences)"),
        (["--moves=0"], TEACHING, "the moves are 0, wanted positive numbers, each once (--moves)"),
        ([], ["--", "--measure=sampled_bleu"], "--measure stands after --, but the choice table sets it itself"),
        (
            ["--measures=sharpened_likelihood"],
            [*TEACHING, "--candidates=3"],
            "--candidates 3 would be ignored, for --measure sharpened_likelihood does not read it",
        ),
    ],
)
def test_mistakes_are_one_line(call, given, teaching, words):
    status, _, error = call(*given, teaching=teaching)
    assert status == 1
    assert words in error.splitlines()[-1] and error.splitlines()[-1].startswith(
        "python -m experiments choice: error: "
    )


def test_several_students_are_refused(call, files):
    status, _, error = call(student=f"{files[1]},{files[1]}")
    assert status == 1
    assert "the choice table is of one student, but several were named: name one (--student)" in error


@pytest.mark.parametrize("missing", ["data", "student"])
def test_places_are_needed(missing, tmp_path, capsys):
    given = [f"--{name}={tmp_path}" for name in ("data", "student") if name != missing]
    assert main(["choice", *given]) == 1
    assert f"there is no {missing}: name it (--{missing})" in capsys.readouterr().err


def test_names_are_separated_by_commas_outside_of_brackets():
    assert specs("diagonal, bins(number=4,linear=1),smoothed") == ("diagonal", "bins(number=4,linear=1)", "smoothed")


def test_the_defaults_are_those_of_the_table():
    parsed = build_parser().parse_args([])
    assert parsed.measures == ("sampled_bleu", "sharpened_likelihood(sharpness=5)", "reweighted_bleu")
    assert (parsed.moves, parsed.dev_sentences, parsed.unseen_sentences) == ((0.05, 0.1, 0.2), 256, 0)
