"""Learning to teach with dynamic loss functions, for fairseq.

The method is L2T-DLF (Wu et al., NeurIPS 2018): a teacher network chooses the
coefficients of the student's loss at every step and learns to do so by the
gradient of the student's dev measure, carried back through its own updates.
"""

import sys

__version__ = "0.2.0"

# `--user-dir fairseq_dlf` imports this file from within fairseq, where the
# plug-ins must register. Whoever wants the core alone does not pay for fairseq.
if "fairseq" in sys.modules:
    import fairseq_dlf.translation.plugins  # noqa: F401
