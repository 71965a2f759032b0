"""The command: find the pairs that have no record yet, or report all that have one."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments import circumstances
from experiments.choice.records import PairRecord, PairRecords
from experiments.choice.report import report
from experiments.choice.table import DIRECTIONS, TABLE, Choice
from experiments.circumstances import ROOT
from experiments.options import words
from experiments.progress import say
from experiments.table import Options
from fairseq_dlf.command_line import numbers, option_names, place, run_command, whole
from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.support.registry import split_specs
from fairseq_dlf.core.support.signature import Signature

NAME = "choice"
PROGRAM = f"python -m experiments {NAME}"
# Options of teaching that the table sets, or that its figures do not depend on.
TAKEN = words(
    "--arch --criterion --estimator --form --greedy-sentences --lr --max-epoch --max-update --measure "
    "--measure-sentences --optimizer --phi-start --progress-interval --progress-sentences --seed --student --task "
    "--teacher-kind --update-freq"
)


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status.

    Args:
        arguments: what follows the name of the table; options of teaching stand after '--'.
    """
    given = list(arguments)
    cut = given.index("--") if "--" in given else len(given)
    parser = build_parser()
    options = parser.parse_args(given[:cut])
    # What teaching calls by the names of its own options.
    names = {**option_names(parser), "form": "--forms", "measure": "--measures"}
    return run_command(PROGRAM, lambda: run(options, tuple(given[cut + 1 :])), names)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, but for what follows '--'."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Compare measures and forms of Φ on one student.",
        epilog="Options of --task dlf_teaching may follow after --, such as -- --student-steps 30 --cpu.",
    )
    parser.add_argument("--data", type=place, metavar="DATA-BIN", help="binarised corpus")
    parser.add_argument("--student", type=place, metavar="CHECKPOINT", help="the student")
    parser.add_argument("--measures", type=specs, default=TABLE.measures, metavar="NAME[,NAME…]", help="with options")
    parser.add_argument("--forms", type=specs, default=TABLE.forms, metavar="NAME[,NAME…]", help="with options")
    parser.add_argument(
        "--direction",
        choices=DIRECTIONS,
        default=TABLE.direction,
        help="move Φ along ΣdΦ, or along its signs, as Adam's first step does (default: %(default)s)",
    )
    parser.add_argument(
        "--moves",
        type=numbers,
        default=TABLE.moves,
        metavar="X[,X…]",
        help="greatest moves of a coefficient, as shares of the root mean square of Φ (default: 0.05,0.1,0.2)",
    )
    for name, text in (("dev", "for measures, in two halves"), ("unseen", "for greedy BLEU, 0 for the rest of dev")):
        default = getattr(TABLE, f"{name}_sentences")
        told = f"dev sentences {text} (default: %(default)s)"
        parser.add_argument(f"--{name}-sentences", type=whole, default=default, metavar="N", help=told)
    parser.add_argument(
        "--seed", type=whole, default=TABLE.seed, metavar="N", help="of all that is drawn (default: %(default)s)"
    )
    parser.add_argument("--results", type=place, default=ROOT / "results", metavar="DIR", help="folder of the records")
    parser.add_argument("--report", action="store_true", help="print the table in Markdown, from the records alone")
    return parser


def specs(text: str) -> tuple[str, ...]:
    """Read names with options, separated by commas; the type of an argument."""
    return tuple(split_specs(text))


def run(options: argparse.Namespace, teaching: Options) -> None:
    """Do what the options say."""
    records = PairRecords(options.results / NAME)
    if options.report:
        found = list(records.all())
        if not found:
            raise MissingFileError(
                f"there is no record in {records.folder}: name another folder, or run the table", "results"
            )
        print(report(found))
        return
    for setting in ("data", "student"):
        if getattr(options, setting) is None:
            raise InputError(f"there is no {setting}: name it", setting=setting)
    if "," in str(options.student):  # which separates the students of a population
        raise InputError("the choice table is of one student, but several were named: name one", setting="student")
    _refuse_taken(teaching)
    names = ("measures", "forms", "direction", "moves", "dev_sentences", "unseen_sentences", "seed")
    choice = replace(TABLE, **{name: getattr(options, name) for name in names})
    Run(choice, teaching, options.data, options.student, records).work()


def _refuse_taken(teaching: Options) -> None:
    taken = sorted({word.partition("=")[0] for word in teaching} & set(TAKEN))
    if taken:
        raise InputError(
            f"{taken[0]} stands after --, but the choice table sets it itself, or does not depend on it: leave it out"
        )


@dataclass(frozen=True)
class Run:
    """All pairs of a table on one student.

    Attributes:
        choice: the table.
        given: options of teaching that come last.
        data, student: folder and file.
        records: of finished pairs.
    """

    choice: Choice
    given: Options
    data: Path
    student: Path
    records: PairRecords

    def work(self) -> None:
        """Find what is missing, form by form.

        Raises:
            InputError: an option is wrong, or a pair has a record of other options.
            StateError: the student cannot be taught in this way.
        """
        _require_names(self.choice)
        for form in self.choice.forms:
            for record in self._found(form):
                self.records.write(record)
                say(f"{record.form}, {record.measure}: cosine {_short(record.figures.cosine)}")

    def _found(self, form: str) -> Iterator[PairRecord]:
        # They take seconds to import, which reports can do without.
        import torch

        from experiments.choice.pairs import pairs_of
        from fairseq_dlf.translation.tools.teaching_task import teaching_task

        taught = teaching_task(self._words(form))
        signatures = {measure: self._signature(taught, measure) for measure in self.choice.measures}
        pending = [measure for measure in signatures if not self._done(form, measure, signatures[measure])]
        if not pending:
            return
        say(f"{form}: {', '.join(pending)}")
        commit, machine = circumstances.commit(), circumstances.machine(torch.get_num_threads())
        data = circumstances.data_bin(self.data)
        for measure, figures in zip(pending, pairs_of(taught, self.choice, pending), strict=True):
            command, signature = self._command(form, measure), signatures[measure]
            yield PairRecord(form, measure, command, commit, signature, data, machine, figures)

    def _words(self, form: str) -> list[str]:
        """Return the command line of the task; the named measure is one that reads most of the options."""
        from fairseq_dlf.translation.measures import MEASURES

        measure = max(self.choice.measures, key=lambda spec: len(MEASURES[MEASURES.parse(spec)[0]].reads))
        own = ["--student", str(self.student), "--form", form, "--measure", measure, "--seed", str(self.choice.seed)]
        few = ["--measure-sentences", "1", "--progress-sentences", "1"]
        return [str(self.data), *own, *few, *self.choice.options(form), *self.given]

    def _signature(self, taught: Any, measure: str) -> str:
        from fairseq_dlf.translation.hooks.dictionaries import dictionary_fingerprint
        from fairseq_dlf.translation.teachers.signatures import options_part

        lessons = taught.lessons
        dictionary = {"dictionary": dictionary_fingerprint(taught.task.target_dictionary)}
        options = {name: value for name, value in options_part(lessons.cfg).items() if "_sentences" not in name}
        own = {**lessons.signature, "measure": lessons.signature_of(measure)}
        return str(Signature.of(NAME, own, options, self.choice.signature, dictionary))

    def _done(self, form: str, measure: str, signature: str) -> bool:
        record = self.records.read(form, measure)
        if record is None:
            return False
        differences = Signature.parse(record.signature).differences(Signature.parse(signature))
        if (record.form, record.measure) != (form, measure) or differences:
            why = "; ".join(differences) or f"it is of {record.measure} with {record.form}"
            raise InputError(
                f"{self.records.path(form, measure)} was made with other options: {why}. Name another folder, or "
                "delete it",
                setting="results",
            )
        return True

    def _command(self, form: str, measure: str) -> str:
        """Return the command that makes one pair."""
        choice = self.choice
        own = ["--data", "DATA", "--student", "STUDENT", "--measures", measure, "--forms", form]
        own += ["--direction", choice.direction, "--moves", ",".join(f"{share:g}" for share in choice.moves)]
        own += ["--dev-sentences", str(choice.dev_sentences), "--unseen-sentences", str(choice.unseen_sentences)]
        own += ["--seed", str(choice.seed), "--", *choice.options(form), *self.given]
        return shlex.join([*PROGRAM.split(), *own])


def _require_names(choice: Choice) -> None:
    """Refuse forms and measures that do not exist, and measures that have no gradient."""
    from fairseq_dlf.core.teaching.forms import FORMS
    from fairseq_dlf.translation.measures import MEASURES

    for spec in choice.forms:
        FORMS.make(spec)
    for spec in choice.measures:
        name, _ = MEASURES.parse(spec)
        if not MEASURES[name].differentiable:
            raise InputError(f"the measure {name} has no gradient, so that nothing goes back: take another", "measures")


def _short(cosine: float | None) -> str:
    return "none" if cosine is None else f"{cosine:.3f}"
