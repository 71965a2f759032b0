"""The commands as a user types them, on scikit-learn's digits."""

import json
import shlex
from pathlib import Path

import pytest

from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.images.command_line import build_parser, main

SMALL = "--data digits --model mlp-20 --train-images 200 --threads 1"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command):
    return main(shlex.split(command))


def test_teach_train_table_and_plot(in_a_folder, capsys):
    teach = f"teach {SMALL} --epochs 3 --lr 0.5 --phi-start 0.2 --teacher-lr 0.01 --teacher-steps 3 --out teacher"
    assert run(f"{teach} --validate-every 2 --sharpness 5 --key-scale 3") == 0
    train = f"train {SMALL} --epochs 15 --seeds 2"
    assert run(f"{train} --loss dlf --teacher teacher/teacher.safetensors --lr 0.3 --out dlf") == 0
    assert run(f"{train} --lr 0.03,0.1 --out ce") == 0
    capsys.readouterr()
    assert run("table ce dlf --json table.json") == 0
    shown = capsys.readouterr().out
    assert "| ce (baseline) | digits | mlp-20 | cross_entropy | 2 |" in shown and "| dlf | digits |" in shown
    rows = json.loads((in_a_folder / "table.json").read_text())["rows"]
    assert [row["test_images"] for row in rows] == [359, 359]
    assert rows[0]["test_error_mean"] < 15.0 and rows[1]["test_error_mean"] < 70.0  # chance is 90
    assert run("plot teacher ce dlf --out plots") == 0
    printed = capsys.readouterr().out.split()
    assert len(printed) == len(set(printed)) >= 8
    assert all((in_a_folder / name).stat().st_size > 2000 for name in printed)


def test_check_takes_the_options_of_teach_and_writes_nothing(in_a_folder, capsys):
    teach = f"{SMALL} --epochs 3 --lr 0.5 --phi-start 0.2 --teacher-steps 3 --sharpness 5 --out teacher"
    assert run(f"check {teach} --check-updates 20") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "second-order products: the student can be differentiated as the options want"
    assert lines[4].startswith("all of `teach`, 3 episodes and 2 validations: about ")
    assert "accuracy (%) on 240 dev images after 20 of 30 updates:" in lines
    assert lines[-2].startswith("leverage: ") and lines[-1].startswith("advice: ")
    assert not list(in_a_folder.iterdir())


def test_adapt_teaches_a_policy_that_guides_other_students(in_a_folder, capsys):
    ala = "--teacher 'controller(beta=0.05)' --estimator reinforce --teacher-lr 0.01 --phi-start 0.2"
    adapt = f"adapt {SMALL} --epochs 4 --lr 0.1,0.5 --seeds 2 {ala} --window 10 --children 2 --out ala"
    assert run(adapt) == 0
    said = capsys.readouterr().err
    assert "dev error by rate, seed 1: 0.1: " in said and said.count(": test error ") == 2
    assert run(adapt) == 0 and "test error" not in capsys.readouterr().err
    assert run(f"train {SMALL} --epochs 2 --lr 0.3 --out ce") == 0
    train = f"train {SMALL.replace('mlp-20', 'mlp-30')} --epochs 2 --lr 0.3"
    assert run(f"{train} --loss dlf --teacher ala/seed1/teacher.safetensors --out dlf") == 0
    capsys.readouterr()
    assert run("table ce ala") == 0
    assert "| ala | digits | mlp-20 | dlf | 2 |" in capsys.readouterr().out
    assert run("plot ala ala/seed1 --out plots --format svg") == 0
    names = [Path(path).name for path in capsys.readouterr().out.split()]
    assert names[:3] == ["figure3.svg", "figure4-ala.svg", "figure4-seed1.svg"] and "coefficients.svg" in names


@pytest.mark.parametrize(
    ("task", "loss"), [("metric", "triplet"), ("metric_margin", "margin"), ("metric_focal", "focal")]
)
def test_adapt_and_train_embeddings(capsys, task, loss):
    ala = "--teacher 'coefficient_controller(beta=0.1)' --estimator reinforce --teacher-lr 0.01"
    assert run(f"adapt --task {task} {SMALL} --epochs 2 --lr 0.3 {ala} --window 10 --out ala") == 0
    assert "dev recall@1" in capsys.readouterr().err
    assert run(f"train --task {task} --loss {loss} {SMALL} --epochs 2 --lr 0.3 --out plain") == 0
    assert run("table plain ala --baseline plain --json table.json") == 0
    shown = capsys.readouterr().out
    assert f"| digits, recall@1 | mlp-20 | {loss} |" in shown and f"| adaptive_{loss} |" in shown
    errors = [row["test_error_mean"] for row in json.loads(Path("table.json").read_text())["rows"]]
    assert all(0.0 <= error < 60.0 for error in errors)  # chance is 80


def test_adapt_and_train_for_aucpr(capsys):
    ala = "--teacher 'coefficient_controller(beta=0.1)' --estimator reinforce --teacher-lr 0.01"
    assert run(f"adapt --task aucpr {SMALL} --epochs 4 --lr 0.3 {ala} --window 10 --children 2 --out ala") == 0
    assert "dev AUCPR" in capsys.readouterr().err
    assert run(f"train --task aucpr {SMALL} --epochs 4 --lr 0.3 --out bce") == 0
    assert run(f"train --task aucpr --loss eban --loss-options anchors=5 {SMALL} --epochs 4 --lr 0.3 --out eban") == 0
    assert run("table bce ala eban --json table.json") == 0
    shown = capsys.readouterr().out
    assert "| bce (baseline) | digits, AUCPR | mlp-20 | binary_cross_entropy |" in shown
    assert "| eban | digits, AUCPR | mlp-20 | eban(anchors=5) |" in shown and "| adaptive_eban |" in shown
    errors = [row["test_error_mean"] for row in json.loads(Path("table.json").read_text())["rows"]]
    assert all(0.0 < error < 40.0 for error in errors)  # chance is 90


def test_the_same_command_again_does_nothing_and_other_settings_are_refused(capsys):
    assert run(f"train {SMALL} --epochs 1 --out ce") == 0
    assert run(f"train {SMALL} --epochs 1 --out ce") == 0
    assert "record.json exists already" in capsys.readouterr().err
    assert run(f"train {SMALL} --epochs 2 --out ce") == 1
    assert "holds a run with other settings" in capsys.readouterr().err


def test_a_teacher_brings_its_share_of_cross_entropy(in_a_folder):
    steps = "--teacher-steps 1 --lr 0.1 --epochs 1"
    assert run(f"teach {SMALL} {steps} --ce-share 0.25 --out teacher") == 0
    train = f"train {SMALL} --epochs 1 --loss dlf --teacher teacher/teacher.safetensors"
    assert run(f"{train} --out dlf") == 0
    assert run(f"{train} --loss-options ce_share=0.5 --out other") == 0
    records = [json.loads((in_a_folder / name / "seed1/record.json").read_text()) for name in ("dlf", "other")]
    found = [Signature.parse(each["signature"]).get("loss_options") for each in records]
    assert found == ["ce_share=0.25", "ce_share=0.5"]


def test_what_is_not_given_is_the_papers(in_a_folder):
    assert run(f"train {SMALL} --epochs 1 --out ce") == 0
    record = json.loads((in_a_folder / "ce/seed1/record.json").read_text())
    found = Signature.parse(record["signature"])
    wanted = {"learning_rate": "0.05", "momentum": "0.9", "weight_decay": "0", "batch_size": "20", "epochs": "1"}
    assert wanted.items() <= found.fields.items()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train --data mnist:nowhere --out x", "nowhere"),
        ("train --data imagenet:x --out x", "there is no data set 'imagenet'"),
        ("train --model resnet-9 --out x", "resnet"),
        ("train --model perceptron --out x", "perceptron"),
        ("train --model lenet --out x", "lenet"),
        (
            "train --loss dlf --out x",
            "from a teacher: pass a teacher's file (--teacher)",
        ),
        ("train --loss smooth --loss-options margin=2 --out x", "has no option margin: its options are sharpness=50"),
        ("train --loss smooth --loss-options fifty --out x", "wanted NAME=NUMBER"),
        ("train --loss eban --out x", "no loss eban: pass --task aucpr, or take one of"),
        ("train --task aucpr --loss dlf --out x", "no loss dlf: pass --task classification, or take one of"),
        ("train --task aucpr --loss adaptive_eban --out x", "is adapted while a student trains: use `adapt` (--loss)"),
        ("train --task aucpr --loss eban --loss-options anchors=0 --out x", "anchors is 0, but must be at least 1"),
        ("adapt --task aucpr --out x", "the teacher attention does not read: take coefficient_controller (--teacher)"),
        ("adapt --task pixels --out x", "there is no task named 'pixels': wanted one of"),
        ("train --teacher nowhere.safetensors --loss dlf --out x", "does not exist: pass the teacher.safetensors"),
        ("train --student nowhere.safetensors --out x", "does not exist: pass the best.safetensors"),
        ("train --batch-size 5000 --out x", "the batch size is 5,000"),
        ("train --train-images 5000 --out x", "5,000 training images are wanted"),
        ("train --device nonsense --out x", "the device nonsense cannot be used"),
        ("train --device meta --out x", "the device meta cannot be used"),
        ("train --threads 100000 --out x", "threads is 100000, but must lie between 1 and"),
        ("train --model mlp-99999999999 --out x", "depth, width or growth of 99999999999"),
        ("train --weight-decay inf --out x", "weight_decay is inf, but must not be negative (--weight-decay)"),
        ("train --epochs 1 --out .", "has no name or is the current one: name a folder of its own (--out)"),
        ("train --milestones 40,60 --out x", "must be ascending shares of the run"),
        ("teach --epochs 1 --truncate 1000 --out x", "the last 1000 steps"),
        ("teach --epochs 1 --trajectory-memory 2furlongs --out x", "'2furlongs' is not a size"),
        ("teach --phi-off-diagonal 0.1,1 --out x", "leave out 0, where Φ starts"),
        ("check --epochs 1 --check-updates 60", "check_updates is 60, but the run has 59 updates: give fewer"),
        ("check --check-updates -1", "check_updates is -1, but must not be negative (--check-updates)"),
        ("check --epochs 1 --truncate 1000", "the last 1000 steps"),
        ("check --keys 0 --epochs 1", "keys is 0"),
        ("check --student nowhere.safetensors", "does not exist: pass the best.safetensors"),
        ("table nowhere", "nowhere"),
        ("table nowhere --json .", ". is a folder: name a file in it (--json)"),
        ("table nowhere --baseline x", "there is no folder nowhere: pass folders that `train` has written"),
        ("train --data mnist:nowhere --out x", "or have them fetched (--download)"),
        ("train --lr 0.1,-1 --epochs 1 --out x", "learning_rate is -1.0, but must be positive (--lr)"),
        ("plot nowhere", "nowhere"),
    ],
)
def test_wrong_arguments_end_with_one_clear_line(command, words, capsys):
    assert run(command) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"python -m fairseq_dlf.images {command.split()[0]}: error: ") and words in error


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train", "--out"),
        ("teach", "--out"),
        ("check --check-updates some", "got 'some', wanted a whole number"),
        ("train --out x --loss nonsense", "invalid choice: 'nonsense'"),
        ("train --out x --seeds 0", "got 0, wanted 1 or more"),
        ("train --out x --lr 0.1,zero", "--lr"),
        ("train --out x --epochs 1,2", "got '1,2', wanted one number"),
        ("train --out x --milestones half", "got 'half', wanted numbers such as 0.1,0.3"),
        ("plot x --classes a,b", "got 'a,b', wanted whole numbers such as 0,3,8"),
        ("teach --out x --phi-diagonal 1", "wanted LOW,HIGH"),
        ("teach --out x --phi-diagonal 2,1", "wanted LOW,HIGH"),
    ],
)
def test_arguments_of_a_wrong_form_are_refused(command, words, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(command.split())
    assert words in capsys.readouterr().err


def test_every_option_has_a_help_text(capsys):
    for command in ("check", "teach", "train", "table", "plot"):
        with pytest.raises(SystemExit):
            build_parser().parse_args([command, "--help"])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) > 8
    parser = build_parser()._subparsers._group_actions[0].choices
    for command, own in parser.items():
        for action in own._actions:
            assert action.help, f"{command} {action.option_strings}"
