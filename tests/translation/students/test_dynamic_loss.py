"""The dynamic loss beside fairseq's own cross-entropy."""

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss

from fairseq_dlf.core.teaching.forms import Diagonal
from fairseq_dlf.core.teaching.loss import DynamicLoss

PADDING = 1


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_a_full_share_is_fairseqs_label_smoothed_cross_entropy(smoothing):
    torch.manual_seed(3)
    logits, target = torch.randn(2, 4, 7, dtype=torch.float64), torch.tensor([[3, 2, 6, PADDING], [5, 4, PADDING, 0]])
    loss = DynamicLoss(Diagonal(), PADDING, ce_share=1.0, label_smoothing=smoothing)(logits, target, torch.ones(7)).loss
    log_probs = torch.log_softmax(logits, -1).view(-1, 7)
    wanted, _ = label_smoothed_nll_loss(log_probs, target.view(-1), smoothing, ignore_index=PADDING)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
