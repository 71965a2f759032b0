"""The optimiser of taught students against fairseq's Adam and the rule of episodes."""

from argparse import Namespace

import pytest
import torch

from fairseq_dlf.core.hypergradient.update_rules import Adam, StudentState
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.students.adam import DlfAdam
from tests.translation.tiny_runs import STUDENT, contents, parameters, train

OPTIONS = {"lr": [0.1], "adam_betas": "(0.8, 0.9)", "adam_eps": 1e-6, "adam_eps_root": 0.0, "weight_decay": 0.05}


def trained(optimizer, parameter, gradients):
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def drawn():
    torch.manual_seed(3)
    return torch.randn(4, 3), torch.randn(5, 4, 3)


def test_without_the_root_it_is_torchs_adamw():
    start, gradients = drawn()
    parameter, other = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    found = trained(DlfAdam(Namespace(**OPTIONS), [parameter]), parameter, gradients)
    plain = torch.optim.AdamW([other], lr=0.1, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.05)
    torch.testing.assert_close(found, trained(plain, other, gradients))


def test_with_the_root_it_is_the_rule_of_episodes():
    start, gradients = drawn()
    parameter = torch.nn.Parameter(start.clone())
    found = trained(DlfAdam(Namespace(**{**OPTIONS, "adam_eps_root": 0.5}), [parameter]), parameter, gradients)
    rule = Adam((0.8, 0.9), 1e-6, weight_decay=0.05, decoupled=True, epsilon_root=0.5)
    state: StudentState = rule.initial(start.flatten())
    for gradient in gradients:
        state = rule.step(state, gradient.flatten(), 0.1)
    torch.testing.assert_close(found.flatten(), state.params, rtol=0, atol=0)


def test_options_are_checked():
    for options, words in (
        ({"adam_eps_root": -1.0}, "epsilon_root is -1.0, but must not be negative .--adam-eps-root"),
        ({"adam_betas": (0.9, 1.0)}, "beta2 is 1.0.*--adam-betas"),
    ):
        with pytest.raises(InputError, match=words):
            DlfAdam(Namespace(**{**OPTIONS, **options}), [torch.nn.Parameter(torch.ones(1))])


def test_runs_resume_bit_for_bit(data, tmp_path):
    run = [*STUDENT[:-2], "--optimizer=dlf_adam", "--adam-eps-root=1e-6", "--lr=0.01", "--save-interval-updates=1"]
    train(data, tmp_path / "straight", *run, "--max-update=3")
    train(data, tmp_path / "resumed", *run, "--max-update=2")
    train(data, tmp_path / "resumed", *run, "--max-update=3")
    assert "checkpoint_last.pt" in contents(tmp_path / "resumed")
    found, wanted = (parameters(tmp_path / name / "checkpoint_last.pt") for name in ("resumed", "straight"))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
