"""Self-distillation: the formula, which past self teaches when, resumption bit for bit, new runs, wrong options."""

from types import SimpleNamespace

import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.hooks.task_state import EXTRA_STATE_KEY
from fairseq_dlf.translation.students.losses.self_distillation import STATE, SelfDistillation, softened
from tests.translation.students.losses.made_batches import gradients, step, with_batches
from tests.translation.tiny_runs import STUDENT, parameters, train


def criterion_of(built, **options):
    cfg = {"distillation_weight": 0.8, "distillation_from_start": False, "sentence_avg": False}
    cfg |= {"max_update": 10, "max_epoch": 0, "update_freq": [1], "train_subset": "train"}
    built.model.train()
    return SelfDistillation(SimpleNamespace(**(cfg | options)), built.task).train()


def moved(model):
    """Change all parameters a little."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))


def eval_probs(built):
    built.model.eval()
    with torch.no_grad():
        found = torch.softmax(built.model(**built.batch["net_input"])[0], dim=-1)
    built.model.train()
    return found


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_equals_the_formula_with_its_gradient(tiny, arch):
    """The past self is the student at the epoch's first update, without dropout; the student has dropout."""
    built = with_batches(tiny(arch))
    criterion = criterion_of(built)
    step(built, criterion, update=3)
    built.iterator.epoch = 2
    past = eval_probs(built)
    step(built, criterion, update=4)
    moved(built.model)
    criterion._begin_update(5)
    torch.manual_seed(4)
    loss, sample_size, log = criterion(built.model, built.batch)
    torch.manual_seed(4)
    table = torch.log_softmax(built.model(**built.batch["net_input"])[0], dim=-1)
    weight, wanted, nll, of_target = 0.8 * 5 / 10, 0.0, 0.0, []
    for row, sentence in enumerate(built.batch["target"]):
        for column, word in enumerate(sentence.tolist()):
            if word != built.padding:
                one_hot = torch.eye(table.size(-1), dtype=torch.float64)[word]
                soft = (1 - weight) * one_hot + weight * past[row, column]
                wanted = wanted - (soft * table[row, column]).sum()
                nll -= table[row, column, word].item()
                of_target.append(past[row, column, word].item())
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert log["nll_loss"].item() == pytest.approx(nll, rel=1e-12)
    assert log["distillation_weight"] == pytest.approx(0.4)
    assert log["past_prob"] == pytest.approx(sum(of_target) / len(of_target), rel=1e-12)
    torch.testing.assert_close(gradients(built, loss), gradients(built, wanted), rtol=0, atol=1e-10)
    assert sample_size == built.batch["ntokens"]


def test_the_soft_loss_has_two_derivatives():
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 5, dtype=torch.float64, generator=draw).requires_grad_()
    past = torch.softmax(torch.randn(3, 5, dtype=torch.float64, generator=draw), -1)
    target = torch.tensor([0, 3, 4])
    assert torch.autograd.gradcheck(lambda z: softened(z, target, past, 0.3)[0], logits)
    assert torch.autograd.gradgradcheck(lambda z: softened(z, target, past, 0.3)[0], logits)


def test_half_precision_logits_are_computed_in_float32():
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(1)).half().requires_grad_()
    past = torch.softmax(torch.randn(4, 50, generator=torch.Generator().manual_seed(2)), -1)
    target = torch.tensor([0, 3, 4, 4])
    loss, nll = softened(logits, target, past, 0.3)
    assert loss.dtype == nll.dtype == torch.float32
    exact = softened(logits.detach().double(), target, past.double(), 0.3)
    assert (loss.item(), nll.item()) == pytest.approx((exact[0].item(), exact[1].item()), rel=1e-5)
    assert torch.autograd.grad(loss, logits)[0].dtype == torch.float16


# Which past self --------------------------------------------------------------


@pytest.mark.parametrize("from_start", [False, True])
def test_the_past_self_changes_with_the_epoch(tiny, from_start):
    built = with_batches(tiny("lstm", dropout=0.0))
    criterion = criterion_of(built, distillation_from_start=from_start)
    real = built.batch["target"] != built.padding
    wanted, found = None, []
    for update in range(6):
        built.iterator.epoch = 1 + update // 2
        if update % 2 == 0:
            of_target = eval_probs(built).gather(-1, built.batch["target"].unsqueeze(-1)).squeeze(-1)
            wanted = of_target[real].mean().item()
        log = step(built, criterion, update)
        if update < 2 and not from_start:
            assert "past_prob" not in log
            assert log["loss"].item() == pytest.approx(log["nll_loss"].item(), rel=1e-12)
        else:
            assert log["past_prob"] == pytest.approx(wanted, rel=1e-12)
            assert log["distillation_weight"] == pytest.approx(0.8 * update / 10)
            found.append(log["past_prob"])
        moved(built.model)
    assert len(set(found)) == (3 if from_start else 2)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [({"max_update": 4}, 0.6), ({"max_update": 2}, 0.8), ({"max_update": 0, "max_epoch": 3}, 0.8 * 3 / 12)],
)
def test_the_weight_follows_the_share_of_the_run(tiny, limits, wanted):
    built = with_batches(tiny("lstm"))
    criterion = criterion_of(built, distillation_from_start=True, **limits)
    assert step(built, criterion, update=3)["distillation_weight"] == pytest.approx(wanted)


def test_the_past_self_is_no_part_of_criterion_or_student_and_draws_no_random_numbers(tiny):
    built = with_batches(tiny("lstm"))
    criterion = criterion_of(built, distillation_from_start=True)
    names = set(built.model.state_dict())
    torch.manual_seed(6)
    built.model(**built.batch["net_input"])
    wanted = torch.rand(1)
    torch.manual_seed(6)
    criterion(built.model, built.batch)
    assert torch.equal(torch.rand(1), wanted)
    assert built.model.training and all(module.training for module in built.model.modules())
    assert not list(criterion.parameters()) and not list(criterion.children())
    assert set(built.model.state_dict()) == names


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"distillation_weight": 1.5}, r"distillation_weight is 1.5, .* between 0 and 1 \(--distillation-weight\)"),
        ({"distillation_weight": -0.5}, "distillation_weight is -0.5"),
        ({"max_update": 0}, "the weight of the past self needs .*: pass --max-update or --max-epoch"),
    ],
)
def test_names_wrong_options(tiny, options, words):
    with pytest.raises(InputError, match=words):
        criterion_of(with_batches(tiny("lstm")), **options)


# Runs of fairseq-train ----------------------------------------------------------


PLAIN = ["--task=dlf_translation", "--no-dev-bleu", "--disable-validation", "--save-interval-updates=1"]
DISTILLING = [*STUDENT, *PLAIN, "--criterion=dlf_self_distillation", "--max-update=11"]


@pytest.fixture(scope="module", params=[[], ["--distillation-from-start"]], ids=["", "from-start"])
def straight(request, data, tmp_path_factory):
    """A run of three epochs of four updates: its options and folder."""
    folder = tmp_path_factory.mktemp("straight")
    train(data, folder, *DISTILLING, *request.param)
    return SimpleNamespace(options=[*DISTILLING, *request.param], folder=folder)


def past_of(checkpoint):
    return torch.load(checkpoint, weights_only=True)["extra_state"][EXTRA_STATE_KEY][STATE]


def assert_same(mine, wanted):
    assert set(mine) == set(wanted)
    assert all(torch.equal(mine[name], wanted[name]) for name in wanted)


def test_checkpoints_hold_the_student_of_the_beginning_of_the_epoch(straight):
    for name, start, epoch in (("2_6", "1", 2), ("3_10", "2", 3)):
        past = past_of(straight.folder / f"checkpoint_{name}.pt")
        assert past["epoch"] == epoch
        assert_same(past["weights"], parameters(straight.folder / f"checkpoint{start}.pt"))
    first = past_of(straight.folder / "checkpoint_1_2.pt")
    assert (first["weights"] is not None) == ("--distillation-from-start" in straight.options)


NAMES = ["checkpoint_1_2.pt", "checkpoint1.pt", "checkpoint_2_6.pt", "checkpoint2.pt", "checkpoint_3_10.pt"]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_resumed_anywhere_equals_a_straight_one(data, straight, tmp_path, name):
    (tmp_path / "checkpoint_last.pt").write_bytes((straight.folder / name).read_bytes())
    train(data, tmp_path, *straight.options)
    mine, wanted = tmp_path / "checkpoint_last.pt", straight.folder / "checkpoint_last.pt"
    assert_same(parameters(mine), parameters(wanted))
    assert_same(past_of(mine)["weights"], past_of(wanted)["weights"])


def test_runs_of_fairseqs_own_task_resume_too(data, tmp_path):
    options = [*STUDENT, *DISTILLING[-2:], "--distillation-from-start", "--disable-validation", "--max-update=4"]
    train(data, tmp_path / "straight", *options, "--save-interval-updates=1")
    (tmp_path / "resumed").mkdir()
    half = tmp_path / "straight/checkpoint_1_2.pt"
    (tmp_path / "resumed/checkpoint_last.pt").write_bytes(half.read_bytes())
    train(data, tmp_path / "resumed", *options)
    mine, wanted = (tmp_path / name / "checkpoint_last.pt" for name in ("resumed", "straight"))
    assert_same(parameters(mine), parameters(wanted))
    assert_same(past_of(mine)["weights"], past_of(wanted)["weights"])


def test_it_is_cross_entropy_until_there_is_a_past_self(data, straight, tmp_path):
    train(data, tmp_path, *STUDENT, *PLAIN, "--criterion=cross_entropy", "--max-update=11")

    def distance(name):
        plain, mine = (parameters(folder / name) for folder in (tmp_path, straight.folder))
        return max(float((mine[key] - plain[key]).abs().max()) for key in plain)

    assert (distance("checkpoint1.pt") < 1e-6) == ("--distillation-from-start" not in straight.options)
    assert distance("checkpoint_last.pt") > 1e-4


def test_a_new_run_from_its_checkpoint_inherits_no_past_self(data, straight, tmp_path):
    other = straight.folder / "checkpoint_3_10.pt"
    train(data, tmp_path / "new", *straight.options, f"--finetune-from-model={other}", "--max-update=2")
    past = past_of(tmp_path / "new/checkpoint_last.pt")
    assert past["epoch"] == 1
    if "--distillation-from-start" in straight.options:
        assert_same(past["weights"], parameters(other))
    else:
        assert past["weights"] is None
    plain = [*STUDENT, *PLAIN, "--criterion=cross_entropy", f"--finetune-from-model={other}", "--max-update=1"]
    train(data, tmp_path / "plain", *plain)
    assert EXTRA_STATE_KEY not in torch.load(tmp_path / "plain/checkpoint_last.pt", weights_only=True)["extra_state"]


def test_the_student_alone_is_loaded_from_its_checkpoint(data, straight):
    path = str(straight.folder / "checkpoint_last.pt")
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([path], {"data": str(data)})
    assert_same(dict(model.state_dict()), parameters(path))
    assert STATE not in task.state_dict()
