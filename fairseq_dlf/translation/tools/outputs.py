"""What is compared: the outputs of all systems, which must be of the same sentences, and their references."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sacrebleu.metrics import BLEU
from sacremoses import MosesDetokenizer

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.tools.comparison_settings import System
from fairseq_dlf.translation.tools.generated import Generated, read_generated, read_references

# Detokenised targets differ from the raw references in a few spaces and unknown
# words only; below this BLEU they are other sentences, or in another order.
SAME_TEXT_BLEU = 50.0


class Outputs(NamedTuple):
    """What was read of all systems, and what it is scored against.

    Attributes:
        generated: the files of each system, by its name.
        targets: the T lines, the same in all of them.
        references: raw references.
    """

    generated: dict[str, list[Generated]]
    targets: list[str]
    references: list[str]


def read_outputs(systems: Sequence[System], path: Path, bpe: str, language: str) -> Outputs:
    """Read the files of all systems and the references.

    Args:
        path: raw references, in corpus order.
        bpe: mark of a subword that goes on; "" for none.
        language: what targets are detokenised for.

    Raises:
        MissingFileError: a file is not there.
        InputError: a file does not fit the references or the other files.
    """
    references = read_references(path)
    generated = {
        system.name: [read_generated(file, len(references), bpe, str(path)) for file in system.files]
        for system in systems
    }
    targets = _common_targets(systems, generated)
    _require_same_text(detokenised(targets, language), references, path)
    return Outputs(generated, targets, references)


def require_comparable(systems: Sequence[System], baseline: str) -> None:
    """Raise InputError unless names differ, the baseline is among them, and all have as many files as it has."""
    names = [system.name for system in systems]
    if len(set(names)) != len(names):
        raise InputError(f"a system is named twice in {', '.join(names)}: write its seeds as NAME=FILE1,FILE2")
    if baseline not in names:
        raise InputError(f"baseline {baseline!r} is not among the systems: {', '.join(names)}", setting="baseline")
    wanted = len(next(system for system in systems if system.name == baseline).files)
    for system in systems:
        if len(system.files) != wanted:
            raise InputError(
                f"{system.name} has {len(system.files)} files, the baseline {wanted}: "
                "pass one file for each seed, seeds in the same order"
            )


def detokenised(lines: Sequence[str], language: str) -> list[str]:
    """Return tokenised sentences as people write them."""
    detokenizer = MosesDetokenizer(lang=language)
    return [detokenizer.detokenize(line.split()) for line in lines]


def _common_targets(systems: Sequence[System], outputs: Mapping[str, Sequence[Generated]]) -> list[str]:
    first = outputs[systems[0].name][0].targets
    for system in systems:
        for file, generated in zip(system.files, outputs[system.name], strict=True):
            if generated.targets != first:
                raise InputError(
                    f"the T lines of {file} differ from those of {systems[0].files[0]}: "
                    "generate all systems from the same data-bin and subset"
                )
    return first


def _require_same_text(targets: list[str], references: list[str], path: Path) -> None:
    agreement = BLEU(lowercase=True).corpus_score(targets, [references]).score
    if agreement < SAME_TEXT_BLEU:
        raise InputError(
            f"the T lines do not match the references {path} (BLEU {agreement:.1f} between them): pass the "
            "references of the same subset in corpus order, and check the mark of subwords",
            setting="bpe",
        )
