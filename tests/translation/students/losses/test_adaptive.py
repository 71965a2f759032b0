"""The adaptive criterion: loss, log, resumption bit for bit, controllers in files, wrong options."""

from types import SimpleNamespace

import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.teacher_file import read_teacher, write_teacher
from fairseq_dlf.core.teaching.teachers import CoefficientController
from fairseq_dlf.translation.bleu.type_facts import type_facts
from fairseq_dlf.translation.hooks.task_state import EXTRA_STATE_KEY
from fairseq_dlf.translation.students.losses.adaptive import OPTIONS, STATE, AdaptiveConfig, AdaptiveCriterion
from tests.translation.students.losses.made_batches import gradients, step, with_batches
from tests.translation.tiny_runs import STUDENT, contents, parameters, train

DEFAULTS = {
    "form": "bins(number=2)",
    "window": 2,
    "dev_bleu_sentences": 4,
    "controller": None,
    "controller_from": None,
    "controller_to": None,
    "controller_lr": 0.001,
    "estimator": "reinforce(points=1)",
    "ce_share": 0.0,
    "label_smoothing": 0.0,
    "sentence_avg": False,
    "max_update": 10,
    "max_epoch": 0,
    "update_freq": [1],
    "train_subset": "train",
    "valid_subset": "valid",
    "seed": 1,
}


def criterion_of(built, **options):
    built.model.train()
    return AdaptiveCriterion(SimpleNamespace(**(DEFAULTS | options)), built.task).train()


@pytest.mark.parametrize("spec", ["bins(number=2)", "shares(number=2,start=0.1,linear=1)"])
def test_the_loss_is_that_of_the_present_coefficients(tiny, spec):
    built = with_batches(tiny("lstm", dropout=0.0))
    criterion = criterion_of(built, form=spec, controller="coefficient_controller(beta=0.05)")
    loss, sample_size, log = criterion(built.model, built.batch)
    form, phi = FORMS.make(spec).fitted(type_facts(built.task.target_dictionary)), criterion._adaptation.coefficients
    assert sample_size == built.batch["ntokens"]
    table, wanted = torch.log_softmax(built.model(**built.batch["net_input"])[0], dim=-1), 0.0
    for row, sentence in enumerate(built.batch["target"]):
        for column, word in enumerate(sentence.tolist()):
            if word != built.padding:
                place, seen = int(form.bin_of(torch.tensor(word))), table[row, column]
                if form.name == "bins":
                    reward = float(phi[place]) * seen[word] + float(phi[2 + place]) * seen.mean()
                    wanted = wanted - torch.sigmoid(reward)
                else:
                    wanted = wanted - (1 - float(phi[place])) * seen[word] - float(phi[place]) * seen.mean()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    torch.testing.assert_close(gradients(built, loss), gradients(built, wanted), rtol=0, atol=1e-10)
    assert log["phi_mean"] == pytest.approx(float(phi.mean()))
    assert log["entropy"] == pytest.approx(1.0986, abs=1e-4)


def test_coefficients_move_once_a_window_and_rewards_follow_dev_bleu(tiny, monkeypatch):
    built = with_batches(tiny("lstm"))
    bleu = iter([0.10, 0.12, 0.11, 0.11])
    monkeypatch.setattr(
        "fairseq_dlf.translation.students.dev_sample.SampledStudent.measure", lambda student: next(bleu)
    )
    criterion = criterion_of(built, controller="coefficient_controller(beta=0.05)")
    logs = [step(built, criterion, update) for update in range(8)]
    assert [log["reward"] for log in logs] == [0, 0, 1, 1, -1, -1, 0, 0]
    assert [log["dev_bleu"] for log in logs] == pytest.approx([10, 10, 12, 12, 11, 11, 11, 11])
    assert [log["baseline"] for log in logs[::2]] == pytest.approx([0, 0.1, -0.01, -0.009])
    assert all(logs[number]["phi_sd"] == logs[number + 1]["phi_sd"] for number in range(0, 8, 2))
    assert len({log["phi_sd"] for log in logs}) > 1


def test_the_controller_is_no_part_of_criterion_or_student_and_draws_no_random_numbers(tiny):
    built = with_batches(tiny("lstm"))
    names = set(built.model.state_dict())
    torch.manual_seed(6)
    built.model(**built.batch["net_input"])
    wanted = torch.rand(1)
    torch.manual_seed(6)
    criterion = criterion_of(built)
    criterion(built.model, built.batch)
    assert torch.equal(torch.rand(1), wanted)
    assert not list(criterion.parameters()) and not list(criterion.children())
    assert set(built.model.state_dict()) == names


def test_to_decode_and_to_validate_no_controller_is_read(tiny):
    built = with_batches(tiny("lstm"))
    cfg = SimpleNamespace(**(DEFAULTS | {"controller_from": "gone.safetensors"}))
    criterion = AdaptiveCriterion(cfg, built.task).eval()
    built.model.eval()
    _, _, log = criterion(built.model, built.batch)
    assert log["loss"].item() == pytest.approx(log["nll_loss"].item(), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 0}, r"window is 0, but must be at least 1 \(--window\)"),
        ({"window": -3}, "window is -3, but must be at least 1"),
        ({"controller_lr": -1.0}, r"controller_lr is -1.0, but must not be negative \(--controller-lr\)"),
        ({"controller_lr": 0.0}, "an untaught controller does nothing: raise it, or pass --controller-from FILE"),
        ({"dev_bleu_sentences": -1}, r"dev_bleu_sentences is -1, but must not be negative \(--dev-bleu-sentences\)"),
        ({"dev_bleu_sentences": 7}, "7 sentences were asked for, the data set has 6: ask for fewer"),
        ({"form": "diagonal"}, r"the form diagonal has no dev statistic .*: wanted one of bins, shares \(--form\)"),
        ({"form": "bin"}, "there is no form named 'bin'"),
        ({"controller": "attention"}, r"the controller is attention, .*: take coefficient_controller \(--controller\)"),
        ({"controller": "controller"}, "the controller is controller, .*: take coefficient_controller"),
        ({"controller": "coefficient_controller(beta=0)"}, "beta is 0, but must be positive"),
        ({"controller": "coefficient_controller(step=1)"}, "coefficient_controller has no option step"),
        ({"estimator": "reverse"}, r"the estimator is reverse, .*: take reinforce \(--estimator\)"),
        ({"estimator": "reinforce(replay=0)"}, "replay is 0, but must be at least 1"),
        ({"max_update": 0}, "and the controller needs .*: pass --max-update or --max-epoch"),
        ({"label_smoothing": 0.1}, "--label-smoothing 0.1 would be ignored"),
        ({"ce_share": 1.0}, "--ce-share 1.0 would be ignored, for nothing of the loss is left for the controller"),
        (
            {"controller": "coefficient_controller", "controller_from": "x"},
            "--controller .* leave --controller-from out",
        ),
    ],
)
def test_names_wrong_options(tiny, options, words):
    with pytest.raises(InputError, match=words):
        criterion_of(with_batches(tiny("lstm")), **options)


def test_options_in_messages_exist():
    names = {f"--{name.replace('_', '-')}" for name in vars(AdaptiveConfig)["__dataclass_fields__"]}
    assert set(OPTIONS.values()) <= names


# Controllers in files --------------------------------------------------------------


def test_a_controller_that_is_passed_on_guides_another_student(tiny, tmp_path):
    built, path = with_batches(tiny("lstm")), tmp_path / "controller.safetensors"
    learning = criterion_of(built, controller_to=str(path), controller_lr=0.05)
    for update in range(5):
        step(built, learning, update)
    read = read_teacher(path, "", "")
    assert read.header.form == "bins(number=2)" and read.header.signature.endswith("|update:4")
    for mine, wanted in zip(read.teacher.parameters(), learning._adaptation.teacher.parameters(), strict=True):
        assert torch.equal(mine, wanted)
    torch.nn.init.constant_(read.teacher.bias_3, 0.0)
    read.teacher.bias_3[2] = 9.0  # up
    write_teacher(path, read.teacher, read.header)
    other = with_batches(tiny("lstm"))
    guided = criterion_of(other, controller_from=str(path), controller_lr=0.0)
    for update in range(5):
        step(other, guided, update)
    torch.testing.assert_close(guided._adaptation.coefficients, torch.tensor([1.3, 1.3, 0.3, 0.3]))
    assert torch.equal(guided._adaptation.teacher.bias_3, read.teacher.bias_3)


def test_controllers_that_do_not_fit_are_named(tiny, tmp_path):
    built, path = with_batches(tiny("lstm")), tmp_path / "controller.safetensors"
    with pytest.raises(MissingFileError, match="gone.* does not exist: pass a file that --controller-to has written"):
        criterion_of(built, controller_from=str(tmp_path / "gone.safetensors"))
    criterion = criterion_of(built, controller_to=str(path))
    step(built, criterion, 0)
    with pytest.raises(
        InputError, match=r"4 coefficients of the form bins\(number=2\), .*: pass --form bins\(number=2\)"
    ):
        criterion_of(built, controller_from=str(path), form="shares")
    read = read_teacher(path, "", "")
    assert isinstance(read.teacher, CoefficientController)


# Runs of fairseq-train ----------------------------------------------------------


PLAIN = ["--task=dlf_translation", "--no-dev-bleu", "--disable-validation", "--save-interval-updates=1"]
ADAPTING = [*STUDENT, *PLAIN, "--criterion=dlf_adaptive", "--form=bins(number=2)", "--window=3", "--max-update=11"]
ADAPTING += ["--dev-bleu-sentences=4", "--controller=coefficient_controller(beta=0.05)", "--controller-lr=0.05"]


@pytest.fixture(scope="module", params=[1, 2])
def straight(request, data, tmp_path_factory):
    """A run of four windows, the last of them not whole, in three epochs: its options and folder."""
    folder = tmp_path_factory.mktemp("straight")
    options = [*ADAPTING, f"--estimator=reinforce(points={request.param},minibatch=2,replay=2)"]
    train(data, folder, *options)
    return SimpleNamespace(options=options, folder=folder)


def state_of(checkpoint):
    return torch.load(checkpoint, weights_only=True)["extra_state"][EXTRA_STATE_KEY][STATE]


def assert_same(mine, wanted):
    """The same numbers, whatever holds them."""
    if isinstance(wanted, torch.Tensor):
        assert torch.equal(mine, wanted)
    elif isinstance(wanted, dict):
        assert set(mine) == set(wanted)
        for name in wanted:
            assert_same(mine[name], wanted[name])
    elif isinstance(wanted, (list, tuple)):
        assert len(mine) == len(wanted)
        for one, other in zip(mine, wanted, strict=True):
            assert_same(one, other)
    else:
        assert mine == wanted


NAMES = ["checkpoint_1_2.pt", "checkpoint_1_3.pt", "checkpoint1.pt", "checkpoint_2_6.pt", "checkpoint_3_10.pt"]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_resumed_anywhere_equals_a_straight_one(data, straight, tmp_path, name):
    (tmp_path / "checkpoint_last.pt").write_bytes((straight.folder / name).read_bytes())
    train(data, tmp_path, *straight.options)
    mine, wanted = tmp_path / "checkpoint_last.pt", straight.folder / "checkpoint_last.pt"
    assert_same(parameters(mine), parameters(wanted))
    assert_same(state_of(mine), state_of(wanted))


def test_a_checkpoint_holds_controller_memory_and_window(straight):
    state = state_of(straight.folder / "checkpoint_last.pt")
    assert state["begun"] == 9 and state["estimator"]["added"] == 3 and len(state["estimator"]["records"]) == 2
    assert state["memory"][0].shape == (10, 4)
    assert int(state["optimizer"]["state"][0]["step"]) == 3


def test_a_new_run_from_its_checkpoint_inherits_no_controller(data, straight, tmp_path):
    other = straight.folder / "checkpoint_3_10.pt"
    train(data, tmp_path, *straight.options, f"--finetune-from-model={other}", "--max-update=2")
    assert state_of(tmp_path / "checkpoint_last.pt")["estimator"]["added"] == 0


def test_a_resume_with_another_form_is_refused(data, straight, tmp_path):
    (tmp_path / "checkpoint_last.pt").write_bytes((straight.folder / "checkpoint_1_2.pt").read_bytes())
    before = contents(tmp_path)["checkpoint_last.pt"]
    with pytest.raises(InputError, match="policy of the run that is resumed does not fit this one"):
        train(data, tmp_path, *straight.options, "--form=bins(number=3)")
    assert contents(tmp_path)["checkpoint_last.pt"] == before


def test_the_student_alone_is_loaded_from_its_checkpoint(data, straight):
    path = str(straight.folder / "checkpoint_last.pt")
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([path], {"data": str(data)})
    assert_same(dict(model.state_dict()), parameters(path))
    assert STATE not in task.state_dict()


def test_a_missing_dev_subset_ends_in_one_line(data, tmp_path):
    with pytest.raises(InputError, match="no dev subset 'dev', .* or name another .--valid-subset"):
        train(data, tmp_path, *ADAPTING, "--valid-subset=dev")
