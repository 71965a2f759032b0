"""Average the parameters of several fairseq checkpoints into one.

The result keeps the configuration of the last checkpoint and leaves out the
optimizer's state, so that `fairseq-generate` reads it as any other checkpoint.
"""

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch

from fairseq_dlf.translation.hooks import allow_checkpoint_globals
from fairseq_dlf.translation.tools.arguments import positive

FILE_NAMES = {
    "epoch": re.compile(r"^checkpoint(\d+)\.pt$"),
    "update": re.compile(r"^checkpoint_\d+_(\d+)\.pt$"),
}
OPTIMIZER_STATE = "last_optimizer_state"


def last_checkpoints(directory: Path, last: int, by: str = "epoch") -> List[Path]:
    """The newest checkpoints of a directory, oldest first.

    Args:
        directory: a `--save-dir` of fairseq-train.
        last: how many.
        by: "epoch" for checkpointE.pt, "update" for checkpoint_E_U.pt.

    Raises:
        ValueError: there are fewer.
    """
    if not directory.is_dir():
        raise ValueError(f"checkpoint directory not found: {directory}")
    numbered = {
        int(match.group(1)): path
        for path in directory.iterdir()
        if (match := FILE_NAMES[by].match(path.name)) is not None
    }
    if len(numbered) < last:
        raise ValueError(
            f"got {len(numbered)} checkpoints by {by} in {directory}, wanted {last}: "
            "train without --no-epoch-checkpoints, or choose --by epoch|update as they were saved"
        )
    return [numbered[number] for number in sorted(numbered)[-last:]]


def average(inputs: Sequence[Path]) -> Dict[str, Any]:
    """Average the model parameters of checkpoints.

    Floating-point tensors are summed in float64 and returned in their own
    dtype; others, such as counters, are those of the last input.

    Returns:
        the last checkpoint with the averaged model and no optimizer state.

    Raises:
        ValueError: a file is missing, is no fairseq checkpoint, or holds other
            parameters or shapes than the first.

    Cost: one float64 copy of the model and one checkpoint at a time in memory.
    """
    if not inputs:
        raise ValueError("no checkpoints to average: pass --inputs or --checkpoint-dir with --last")
    sums: Dict[str, torch.Tensor] = {}
    for path in inputs:
        checkpoint = _load(path)
        model = checkpoint["model"]
        if sums:
            _check_same_parameters(model, sums, path, inputs[0])
        for name, tensor in model.items():
            if tensor.is_floating_point() and name in sums:
                sums[name] += tensor
            else:
                sums[name] = tensor.double() if tensor.is_floating_point() else tensor
    checkpoint["model"] = {
        name: (sums[name] / len(inputs)).to(tensor.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in model.items()
    }
    checkpoint.pop(OPTIMIZER_STATE, None)
    return checkpoint


def save(checkpoint: Dict[str, Any], path: Path) -> None:
    """Write a checkpoint in one piece: whoever reads the path never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        torch.save(checkpoint, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command line `dlf-average`."""
    parser = _parser()
    options = parser.parse_args(argv)
    if (options.checkpoint_dir is None) != (options.last is None):
        parser.error("--checkpoint-dir and --last go together")
    try:
        inputs = options.inputs or last_checkpoints(options.checkpoint_dir, options.last, options.by)
        save(average(inputs), options.output)
    except ValueError as error:
        print(f"dlf-average: {error}", file=sys.stderr)
        return 1
    print(f"averaged {len(inputs)} checkpoints into {options.output}: {', '.join(map(str, inputs))}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dlf-average", description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--inputs", nargs="+", type=Path, metavar="FILE", help="checkpoints to average")
    source.add_argument("--checkpoint-dir", type=Path, metavar="DIR", help="a --save-dir of fairseq-train")
    parser.add_argument("--last", type=positive, metavar="N", help="average its N newest checkpoints")
    parser.add_argument(
        "--by",
        choices=sorted(FILE_NAMES),
        default="epoch",
        help="which checkpoints of the directory: checkpointE.pt or checkpoint_E_U.pt (default: epoch)",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="checkpoint to write")
    return parser


def _load(path: Path) -> Dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"checkpoint not found: {path}")
    allow_checkpoint_globals()
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        raise ValueError(f"{path} holds no 'model': pass a checkpoint of fairseq-train")
    return checkpoint


def _check_same_parameters(
    model: Dict[str, torch.Tensor], sums: Dict[str, torch.Tensor], path: Path, first: Path
) -> None:
    different = sorted(set(model) ^ set(sums))
    if different:
        raise ValueError(
            f"{path} and {first} hold different parameters ({', '.join(different[:5])}): "
            "average checkpoints of one architecture"
        )
    for name, tensor in model.items():
        if tensor.shape != sums[name].shape:
            raise ValueError(
                f"{name} is {tuple(tensor.shape)} in {path}, {tuple(sums[name].shape)} in {first}: "
                "average checkpoints of one architecture and one dictionary"
            )


if __name__ == "__main__":
    sys.exit(main())
