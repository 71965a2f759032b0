"""The peers that benchmarks compare with compute the same hypergradient, and the figures are summed up right."""

import pytest
import torch

from benchmarks import cases, ours, peers


@pytest.mark.parametrize("student", cases.STUDENTS)
@pytest.mark.parametrize("peer", peers.PEERS)
def test_agrees_with_the_reverse_pass(peer, student):
    if peer != "autograd":
        pytest.importorskip(peer)
    assert peers.error_of(peer, student) <= peers.TOLERANCE


def test_a_peer_that_disagrees_is_refused(monkeypatch):
    monkeypatch.setitem(peers.PEERS, "autograd", lambda case, steps: 1.01 * ours.episode(case, steps))
    with pytest.raises(peers.PeerDisagreesError, match="autograd on mlp: relative difference 1.0e-02"):
        peers.check("autograd", "mlp")


@pytest.mark.parametrize("student", cases.STUDENTS)
def test_plain_training_takes_the_same_steps(student):
    case = cases.build(student, "small").double()
    module = cases.build(student, "small").double().module
    plain = peers.train_plainly(case, module, peers.CHECKED_STEPS)
    torch.testing.assert_close(plain, ours.forward(case, peers.CHECKED_STEPS), rtol=1e-10, atol=1e-12)
