"""Forms of Φ, one file each; importing this package registers them all."""

from fairseq_dlf.core.teaching.forms.diagonal import Diagonal
from fairseq_dlf.core.teaching.forms.form import FORMS, Form
from fairseq_dlf.core.teaching.forms.matrix import Matrix

__all__ = ["FORMS", "Diagonal", "Form", "Matrix"]
