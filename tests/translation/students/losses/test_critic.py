"""The critic as a network: what it reads, what it does not depend on, and how it becomes another."""

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.students.losses.critic import Critic, Prefixes
from fairseq_dlf.translation.students.losses.critic_training import CriticSettings, CriticTraining
from tests.translation.conftest import TinyTask

PAD, END = 1, 2
PREVIOUS = torch.tensor([[END, 4, 5, 6], [END, 7, 7, PAD], [END, 5, PAD, PAD]])
REFERENCES = torch.tensor([[6, END, PAD, PAD], [4, 5, 6, END]])


@pytest.fixture
def critic():
    torch.manual_seed(2)
    return Critic(TinyTask().target_dictionary, 5).double().train()


def values(critic, owners, previous=PREVIOUS, references=REFERENCES):
    with torch.no_grad():
        return critic(Prefixes(previous, references, torch.tensor(owners)))


def test_every_row_is_read_with_its_own_reference(critic):
    """References in any order of lengths, with padding that all of them have."""
    found = values(critic, [1, 0, 1])
    assert found.shape == (3, 4, 12)
    for row, owner in enumerate([1, 0, 1]):
        length = int((PREVIOUS[row] != PAD).sum())
        reference = REFERENCES[owner][REFERENCES[owner] != PAD].unsqueeze(0)
        alone = values(critic, [0], PREVIOUS[row : row + 1, :length], reference)
        torch.testing.assert_close(found[row, :length], alone[0], rtol=0, atol=1e-12)
    wider = torch.cat([REFERENCES, torch.full((2, 3), PAD)], dim=1)
    assert torch.equal(values(critic, [1, 0, 1], references=wider), found)


def test_another_reference_or_prefix_has_other_values(critic):
    found = values(critic, [1, 0, 1])
    assert not torch.allclose(values(critic, [0, 0, 1])[0], found[0])
    changed = PREVIOUS.clone()
    changed[0, 2] = 8
    later = values(critic, [1, 0, 1], changed)
    assert torch.equal(later[0, :2], found[0, :2])
    assert not torch.allclose(later[0, 2:], found[0, 2:])


def test_the_reference_is_read_in_both_directions_and_without_dropout(critic):
    assert critic.lstm.encoder.bidirectional
    assert torch.equal(values(critic, [1, 0, 1]), values(critic, [1, 0, 1]))


def training(width=5, **settings):
    dictionary = TinyTask().target_dictionary
    return CriticTraining(dictionary, CriticSettings(width, **settings), torch.device("cpu"), torch.float64, 7)


def test_a_state_is_the_whole_critic():
    """Also one that is read into another process, whose critic began otherwise."""
    made, other = training(lr=0.1), training(lr=0.2)
    for parameter in [*made.critic.parameters(), *made.target.parameters()]:
        parameter.data.uniform_(-1, 1)
    made.updates = 9
    other.load_state_dict(made.state_dict())
    for name in ("critic", "target"):
        mine, theirs = getattr(made, name), getattr(other, name)
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    assert other.updates == 9
    assert other.optimizer.param_groups[0]["lr"] == 0.2


def test_a_state_of_another_width_is_refused():
    with pytest.raises(InputError, match="critic_width is 6, but the run to go on with has a critic of width 5"):
        training(6).load_state_dict(training(5).state_dict())
