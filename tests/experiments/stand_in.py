"""What stands in for the programs of a table's commands in quick tests: it writes what they would write, at once.

python stand_in.py PROGRAM ARGUMENTS…

A file `NAME.fails` or `NAME.diverges` beside a run's folder makes the run named NAME end so; `NAME.waits` makes it
wait in the middle for as long as the file is there.
"""

import sys
import time
from pathlib import Path

SENTENCES = ("a dog runs over the green grass", "two men sit on a bench", "a girl plays with a red ball in the park")
PREFIX = "2026-01-01 10:00:00 | INFO |"


def main() -> int:
    # What is read while a run waits has to be written by then.
    sys.stdout.reconfigure(line_buffering=True)
    program, words = Path(sys.argv[1]).name, sys.argv[2:]
    if program == "dlf-prepare":
        return prepare(Path(after(words, "--out")))
    if program == "dlf-average":
        Path(after(words, "--output")).write_text("a model")
        return 0
    if program == "fairseq-generate":
        return generate(Path(after(words, "--path")))
    if program == "fairseq-validate":
        print(f"{PREFIX} valid | valid on 'valid' subset | loss 3.668 | nll_loss 2.297 | ppl 4.91 | bleu 37.56 | wps 0")
        return 0
    return train(Path(after(words, "--save-dir")), words)


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def prepare(out: Path) -> int:
    (out / "raw").mkdir(parents=True)
    for subset in ("valid", "test"):
        (out / "raw" / f"{subset}.en").write_text("".join(f"{line}\n" for line in SENTENCES))
    (out / "prepare.json").write_text('{"finished": {"binarise": {}}}')
    return 0


def generate(checkpoint: Path) -> int:
    assert checkpoint.is_file(), checkpoint
    for number, line in enumerate(SENTENCES):
        print(f"T-{number}\t{line}\nH-{number}\t-1.0\t{line.replace('a ', 'the ')}\nD-{number}\t-1.0\t{line}")
    return 0


def train(folder: Path, words: list[str]) -> int:
    if (last := folder / "checkpoint_last.pt").is_file():
        print(f"continues at {last.read_text()}")
    print(f"{PREFIX} fairseq_cli.train | training on 1 devices", flush=True)
    if wished(folder, "fails"):
        return 3
    lr = float(after(words, "--lr")) if "--lr" in words else 1.0
    for update in (3, 6):
        figures = f'"valid_loss": "2.0", "valid_bleu": "{30 + lr + update / 10}", "valid_num_updates": "{update}"'
        print(f'{PREFIX} train_inner | {{"loss": "3", "ups": "2.0", "num_updates": "{update}", "wall": "{update}"}}')
        print(f"{PREFIX} valid | {{{figures}}}", flush=True)
        for name in ("best", "last", f"1_{update}"):
            (folder / f"checkpoint_{name}.pt").write_text(str(update))
        print(f"{PREFIX} fairseq.checkpoint_utils | Saved checkpoint 1_{update}.pt (epoch 1 @ {update} updates, …)")
        while wished(folder, "waits"):
            time.sleep(0.05)
        if wished(folder, "diverges"):
            print("FloatingPointError: gradients are Nan/Inf")
            return 1
    print(f"{PREFIX} fairseq_cli.train | done training in 1.0 seconds")
    return 0


def wished(folder: Path, what: str) -> bool:
    return folder.with_name(f"{folder.name}.{what}").exists()


if __name__ == "__main__":
    sys.exit(main())
