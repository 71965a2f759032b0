"""The steps of a preparation: tokenise, learn a BPE, apply it, binarise."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fairseq_dlf.core.files.run_folder import only_run_in
from fairseq_dlf.core.files.text import read_lines
from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.translation.corpus.corpora import Corpus
from fairseq_dlf.translation.corpus.cuts import cut_train, misalign_targets
from fairseq_dlf.translation.corpus.messages import say
from fairseq_dlf.translation.corpus.settings import BPE_MODELS, SPLITS, PreparationSettings
from fairseq_dlf.translation.corpus.subwords import drop_too_long, learn_bpe, require_no_too_long, segment
from fairseq_dlf.translation.corpus.tokens import map_chunks, require_enough, split_pairs
from fairseq_dlf.translation.corpus.workspace import Facts, Workspace, require_own, write_lines


def prepare(
    settings: PreparationSettings, read: Callable[[], Corpus], out: Path, workers: int = 1, overwrite: bool = False
) -> None:
    """Run every step that is not finished, and say what was dropped.

    Args:
        read: reads the corpus, where it is needed.
        out: folder of the result.
        workers: processes; the result does not depend on them.
        overwrite: whether to replace what another run left.

    Raises:
        InputError: the text cannot be prepared, or the folder is another's or in use.
        DiskError: the disk is full.
        StateError: fairseq-preprocess failed.
    """
    require_own(out)
    with only_run_in(out):
        workspace = Workspace.open(out, settings, overwrite)
        steps = Steps(settings, read, out, workers)
        titles = {
            "tokenise": ("tokenise, clean, lower-case and split", steps.tokenise),
            "learn": (f"learn a joint BPE of {settings.bpe_tokens:,} by {settings.bpe}", steps.learn),
            "segment": ("apply the BPE", steps.segment),
            "binarise": ("fairseq-preprocess", steps.binarise),
        }
        for step, (title, work) in titles.items():
            workspace.run(step, title, work)
    dropped, too_long = workspace.fact("tokenise", "dropped_pairs"), workspace.fact("segment", "dropped_pairs")
    say(f"dropped {dropped:,} train pairs over length {settings.max_length} or ratio {settings.max_ratio:g}")
    if settings.train_pairs or settings.misaligned:
        say(f"kept {settings.train_pairs or 'all'} train pairs, of which {settings.misaligned:.0%} are misaligned")
    if too_long:
        say(f"dropped {too_long:,} train pairs of more than {settings.max_positions - 1:,} subwords")


class Steps(NamedTuple):
    """The work of each step, which writes under the folder that it is given."""

    settings: PreparationSettings
    read: Callable[[], Corpus]
    out: Path
    workers: int

    def tokenise(self, part: Path) -> Facts:
        """Write tokenized/ and the raw references."""
        settings = self.settings
        pairs, dropped = split_pairs(self.read(), settings, self.workers)
        pairs["train"] = misalign_targets(cut_train(pairs["train"], settings), settings)
        require_enough("train", len(pairs["train"]), " after the cut")
        for split in SPLITS:
            write_lines(part / f"tokenized/{split}.{settings.source}", (pair.source for pair in pairs[split]))
            write_lines(part / f"tokenized/{split}.{settings.target}", (pair.target for pair in pairs[split]))
            if split != "train":
                write_lines(part / f"raw/{split}.{settings.target}", (pair.reference for pair in pairs[split]))
        return {"dropped_pairs": dropped}

    def learn(self, part: Path) -> Facts:
        """Write the BPE of both languages' train text."""
        train = [line for language in self.settings.languages for line in self._tokenised("train", language)]
        learn_bpe(train, self.settings, part / BPE_MODELS[self.settings.bpe])
        return {}

    def segment(self, part: Path) -> Facts:
        """Write bpe.SPLIT.LANGUAGE; train pairs that are too long for a model are left out."""
        settings, dropped = self.settings, 0
        work = partial(segment, settings.bpe, self.out / BPE_MODELS[settings.bpe])
        for split in SPLITS:
            sides = [
                map_chunks(work, self._tokenised(split, language), self.workers, f"{split}.{language}")
                for language in settings.languages
            ]
            if split == "train":
                sides, dropped = drop_too_long(sides, settings.max_positions)
                require_enough(split, len(sides[0]), f", {dropped:,} were too long")
            for language, lines in zip(settings.languages, sides, strict=True):
                require_no_too_long(lines, str(self.out / f"tokenized/{split}.{language}"), settings.max_positions)
                write_lines(part / f"bpe.{split}.{language}", lines)
        return {"dropped_pairs": dropped}

    def binarise(self, part: Path) -> Facts:
        """Write bin/."""
        run_preprocess(self.out, part / "bin", self.settings.languages, self.workers)
        return {}

    def _tokenised(self, split: str, language: str) -> list[str]:
        return read_lines(self.out / f"tokenized/{split}.{language}")


def run_preprocess(out: Path, destination: Path, languages: tuple[str, str], workers: int) -> None:
    """Run fairseq-preprocess on OUT/bpe.*.

    Raises:
        StateError: it failed.
        OSError: it met a full disk.
    """
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--workers", str(workers)]
    command += ["--source-lang", languages[0], "--target-lang", languages[1], "--destdir", str(destination)]
    for option, split in zip(("--trainpref", "--validpref", "--testpref"), SPLITS, strict=True):
        command += [option, str(out / f"bpe.{split}")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode == 0:
        return
    if os.strerror(errno.ENOSPC) in done.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(destination))
    last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
    raise StateError(
        f"fairseq-preprocess failed with status {done.returncode} ({last}): see that fairseq runs in this "
        "environment, then run the same command again"
    )
