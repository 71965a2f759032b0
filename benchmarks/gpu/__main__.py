"""The command `python -m benchmarks.gpu`: make every check that has not passed yet, and report on all."""

import argparse
import json
import logging
import re
import sys
import time
import warnings
from typing import Any

import torch

from benchmarks.gpu import products, runs
from benchmarks.gpu.check import Check, Place, UnmetError, WrongError
from benchmarks.timing import ROOT, circumstances, markdown, progress, write_json
from fairseq_dlf.command_line import any_number, place, run_command
from fairseq_dlf.core.support.errors import StateError, UserError
from fairseq_dlf.images.students.settings import chosen_device

CHECKS: dict[str, Check] = {
    "ladder": products.ladder,
    "recurrent_kernels": products.recurrent_kernels,
    "attention_kernels": products.attention_kernels,
    "storage": products.storage,
    "speed": products.speed,
    "teaching": runs.teaching,
    "resume": runs.resume,
    "bf16": runs.bf16,
    "two_workers": runs.two_workers,
    "images": runs.images,
}
PASSED, FAILED, LEFT_OUT = "passed", "failed", "left out"


def main() -> int:
    """Make the checks that the command names; return 1 where one failed. Without the device the status is 2."""
    parser = build_parser()
    options = parser.parse_args()
    unknown = [name for name in options.checks if name not in CHECKS]
    if unknown:
        parser.error(f"there is no check {unknown[0]!r}; choose from {', '.join(CHECKS)}")
    try:
        device = _device(options.device)
    except UserError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    failed: list[str] = []

    def run() -> None:
        folder = options.out / _slug(_name(device))
        where = Place(device, folder, options.data, time.monotonic() + 60 * options.minutes)
        records = [_record(name, where, options.again) for name in options.checks or CHECKS]
        text = report(_name(device), records)
        (folder / "REPORT.md").write_text(text, encoding="utf-8")
        print(text)
        progress(f"records and logs are in {folder}")
        failed.extend(record["check"] for record in records if record["outcome"] == FAILED)

    status = run_command(parser.prog, run, stopped="stopped; the same command makes the checks that are left")
    return status or int(bool(failed))


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command."""
    listed = "; ".join(f"{name}: {_meaning(check)}" for name, check in CHECKS.items())
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=f"Checks that need a GPU. {listed}")
    parser.add_argument("checks", nargs="*", metavar="NAME", help=f"any of {', '.join(CHECKS)}; default all")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the checks (default: cuda)")
    parser.add_argument("--minutes", type=any_number, default=30.0, help="time for all checks (default: 30)")
    parser.add_argument("--data", default="digits", metavar="KIND[:DIR]", help="digits, mnist:DIR or cifar10:DIR")
    parser.add_argument("--again", action="store_true", help="make checks that have passed before once more")
    parser.add_argument("--out", type=place, default=ROOT / "benchmarks/out/gpu", help="folder of the device's folder")
    return parser


def report(device: str, records: list[dict[str, Any]]) -> str:
    """Return the outcome of each check, and below it all figures, as Markdown."""
    lines = [[record["check"], record["outcome"], f"{record['seconds']:.0f}", record["reason"]] for record in records]
    parts = [f"# {device}", markdown(["check", "outcome", "seconds", "reason"], lines)]
    for record in records:
        figures = {name: value for name, value in record["figures"].items() if name != "table"}
        shown = [[name, f"{value:.3g}" if isinstance(value, float) else value] for name, value in figures.items()]
        if record["figures"]:
            parts += [f"## {record['check']}", _meaning(CHECKS[record["check"]])]
            parts += [markdown(["figure", "value"], shown)] if shown else []
            parts += [record["figures"]["table"]] if "table" in record["figures"] else []
    made = records[0] if records else circumstances()
    parts.append(f"Commit {made['commit']}; versions: {', '.join(f'{n} {v}' for n, v in made['versions'].items())}.")
    return "\n\n".join(parts) + "\n"


def _record(name: str, where: Place, again: bool) -> dict[str, Any]:
    """Return the record of a check that has passed, or make the check and write its record."""
    path, now = where.folder / f"{name}.json", circumstances()
    if path.exists() and not again:
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["outcome"] == PASSED and _alike(before, now, where):
            progress(f"{name}: passed before (--again repeats it)")
            return before
    progress(f"{name}: begins, {max(0.0, where.seconds_left) / 60:.0f} minutes left")
    began = time.monotonic()
    outcome, reason, figures = _outcome(CHECKS[name], where)
    record = {"check": name, "outcome": outcome, "reason": reason, "seconds": round(time.monotonic() - began, 1)}
    record |= {"device": _name(where.device), **now, "figures": figures}
    write_json(path, record)
    progress(f"{name}: {outcome}{f': {reason}' if reason else ''}")
    return record


def _alike(before: dict[str, Any], now: dict[str, Any], where: Place) -> bool:
    """Whether a record is of this commit, these versions and, where its check reads images, these images."""
    same = all(before[key] == now[key] for key in ("commit", "versions"))
    return same and before["figures"].get("data", where.data) == where.data


def _outcome(check: Check, where: Place) -> tuple[str, str, dict[str, Any]]:
    if where.seconds_left <= 0:
        return LEFT_OUT, "no time was left (--minutes)", {}
    try:
        return PASSED, "", check(where)
    except UnmetError as error:
        return LEFT_OUT, str(error), {}
    except WrongError as error:
        return FAILED, error.reason, error.figures
    except Exception as error:
        # One check's end is not that of the others: kernels are missing, memory is full, a library is another.
        logging.getLogger(__name__).exception("the check ended by an error")
        return FAILED, f"{type(error).__name__}: {error}".partition("\n")[0], {}


def _device(name: str) -> torch.device:
    if name.startswith("cuda") and not torch.cuda.is_available():
        built = "has no CUDA" if torch.version.cuda is None else "finds no GPU"
        raise StateError(
            f"these checks need a GPU, but torch {torch.__version__} {built}: run them where nvidia-smi shows one, "
            "with a build of torch for CUDA (TORCH_INDEX of make), or try them by --device cpu"
        )
    return chosen_device(name)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _meaning(check: Check) -> str:
    return (check.__doc__ or "").splitlines()[0]


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    sys.exit(main())
