"""Declarations with which present-day torch reads fairseq's checkpoints.

Since torch 2.6 `torch.load` reads weights only, unless a global is declared safe.
fairseq's checkpoints hold its configuration and, if a run had `--eval-bleu`, NumPy
figures; without the declarations below generation, validation and every resume
fail. The check itself stays on: a hostile pickle is still refused.
"""

import argparse
import collections
import importlib
import typing
from typing import Any

import numpy as np
import omegaconf
import torch
from fairseq.distributed import utils as distributed_utils
from omegaconf import base as omegaconf_base
from omegaconf import nodes as omegaconf_nodes

_OMEGACONF_NODES = (
    "AnyNode",
    "BooleanNode",
    "BytesNode",
    "EnumNode",
    "FloatNode",
    "IntegerNode",
    "PathNode",
    "StringNode",
)


def allow_checkpoint_globals() -> None:
    """Declare the classes in fairseq's own checkpoints as safe; idempotent.

    Forced by: fairseq calls `torch.load` without such declarations.
    """
    torch.serialization.add_safe_globals([argparse.Namespace, *_numpy_globals(), *_broadcast_globals()])


def _numpy_globals() -> list[Any]:
    """Return the classes of NumPy scalars and arrays: BLEU counts in the meters of `--eval-bleu` runs."""
    name = "numpy.core.multiarray" if np.lib.NumpyVersion(np.__version__) < "2.0.0" else "numpy._core.multiarray"
    multiarray: Any = importlib.import_module(name)
    dtypes = {type(np.dtype(kind)) for kind in ("?", "i1", "i2", "i4", "i8", "u1", "f2", "f4", "f8")}
    return [multiarray._reconstruct, multiarray.scalar, np.ndarray, np.dtype, *dtypes]


def _broadcast_globals() -> list[Any]:
    """Return the classes in what rank 0 sends to the others when several ranks resume."""
    nodes = [getattr(omegaconf_nodes, name) for name in _OMEGACONF_NODES if hasattr(omegaconf_nodes, name)]
    return [
        omegaconf.DictConfig,
        omegaconf.ListConfig,
        omegaconf_base.ContainerMetadata,
        omegaconf_base.Metadata,
        *nodes,
        *(dict, list, int, float, str, bool, set, tuple),
        collections.defaultdict,
        collections.OrderedDict,
        typing.Any,
        distributed_utils._TensorPlaceholder,
    ]
