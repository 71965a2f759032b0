"""Forms of Φ, one file each; importing this package registers them all."""

from fairseq_dlf.core.teaching.forms.bins import Bins
from fairseq_dlf.core.teaching.forms.diagonal import Diagonal
from fairseq_dlf.core.teaching.forms.form import FORMS, Form
from fairseq_dlf.core.teaching.forms.loss_network import LossNetwork
from fairseq_dlf.core.teaching.forms.matrix import Matrix
from fairseq_dlf.core.teaching.forms.shares import Shares
from fairseq_dlf.core.teaching.forms.smoothed import Smoothed
from fairseq_dlf.core.teaching.forms.sparse_smoothed import SparseSmoothed
from fairseq_dlf.core.teaching.forms.token_network import TokenNetwork
from fairseq_dlf.core.teaching.forms.types import TypeFacts

__all__ = [
    "FORMS",
    "Bins",
    "Diagonal",
    "Form",
    "LossNetwork",
    "Matrix",
    "Shares",
    "Smoothed",
    "SparseSmoothed",
    "TokenNetwork",
    "TypeFacts",
]
