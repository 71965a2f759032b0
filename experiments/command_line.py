"""The command: run a table, list how far it is, or report it."""

import argparse
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from experiments import source_use
from experiments.choice import command_line as choice
from experiments.circumstances import ROOT, commit
from experiments.engine import Engine
from experiments.progress import say
from experiments.publishing import publish
from experiments.recording import Recorder
from experiments.report import body, report
from experiments.runs import resolved
from experiments.status import status
from experiments.table import Table
from experiments.workplace import Workplace
from fairseq_dlf.command_line import count, option_names, place, run_command
from fairseq_dlf.core.files.run_folder import only_run_in
from fairseq_dlf.core.support.errors import InputError, MissingFileError

PROGRAM = "python -m experiments"
TABLES = ("table3", "low3000", "low6000", "noisy6000", "talks6000")


def main(arguments: Sequence[str] | None = None, tables: Mapping[str, Table] | None = None) -> int:
    """Run the command; return its exit status.

    Args:
        arguments: by default those of the process.
        tables: by name; by default those of this package.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for command in (choice, source_use):
        if words[:1] == [command.NAME]:
            return command.main(words[1:])
    parser = build_parser(tuple(tables) if tables else TABLES)
    options = parser.parse_args(words)
    table = tables[options.table] if tables else import_module(f"experiments.{options.table}").TABLE
    return run_command(PROGRAM, lambda: run(table, options), option_names(parser))


def build_parser(tables: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Run, list and report tables of trainings.",
        epilog=f"Commands of their own: {choice.PROGRAM} --help, the table of measures and forms of Φ; "
        f"{source_use.PROGRAM} --help, what students take from the source.",
    )
    parser.add_argument("table", choices=tables, help="which table")
    parser.add_argument("--raw", type=place, metavar="DIR", help="raw corpus; needed once, to prepare the data")
    parser.add_argument("--out", type=place, metavar="DIR", help="folder of data, checkpoints and logs")
    parser.add_argument("--results", type=place, default=ROOT / "results", metavar="DIR", help="folder of the records")
    parser.add_argument("--jobs", type=count, default=1, metavar="N", help="runs at a time (default: 1)")
    parser.add_argument("--threads", type=count, default=1, metavar="N", help="threads of each run (default: 1)")
    parser.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="GLOB",
        help="only runs of these names, as 'lstm_dlf_1/seed-1/risk/*', and what they need",
    )
    parser.add_argument(
        "--into",
        type=place,
        metavar="FILE",
        help="with --report: put the tables between the marks of this document, in place of the former ones",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="print the commands in their order")
    what.add_argument("--status", action="store_true", help="list what is done, running and missing")
    what.add_argument("--report", action="store_true", help="print the tables in Markdown, from the records alone")
    return parser


def run(table: Table, options: argparse.Namespace) -> None:
    """Do what the options say."""
    if options.into is not None and not options.report:
        raise InputError("only a report is put into a document: pass --report", setting="into")
    if options.report:
        folder = options.results / table.name
        if next(folder.rglob("*.json"), None) is None:
            raise MissingFileError(f"there is no record in {folder}: name another folder, or run the table", "results")
        if options.into is None:
            print(report(table, options.results))
        elif publish(body(table, options.results), table.name, options.into):
            say(f"{options.into} has the tables of {table.name} anew")
        else:
            say(f"{options.into} had these tables of {table.name} already")
        return
    if options.out is None:
        raise InputError("no folder for data, checkpoints and logs: name one", setting="out")
    workplace = Workplace(table, options.out, options.results, options.raw, tuple(options.only))
    if options.dry_run:
        _print_commands(workplace)
    elif options.status:
        print(status(workplace))
    else:
        _work(workplace, options)


def _work(workplace: Workplace, options: argparse.Namespace) -> None:
    data = next(task for task in workplace.tasks() if task.kind == "data")
    if workplace.raw is None and not workplace.done(data):
        raise InputError("the data is not prepared yet: name the folder of the raw corpus", setting="raw")
    # A kill ends the processes of the runs as Ctrl-C does.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with only_run_in(workplace.out):
            recorder = Recorder(workplace, commit(), options.threads)
            Engine(workplace, recorder, options.jobs, say).work()
    finally:
        signal.signal(signal.SIGTERM, before)
    say(status(workplace).splitlines()[-1])


def _print_commands(workplace: Workplace) -> None:
    tasks = workplace.tasks()
    pending = {task.name for task in workplace.pending(tasks)}
    for task in tasks:
        if task.kind == "undecided":
            print(f"# {task.name}: the setting that tuning will choose")
        elif task.name in pending:
            for step in task.steps:
                output = "" if step.output is None else f" > {workplace.out / task.run / step.output}"
                print(shlex.join(resolved(step.command, workplace.folders)) + output)
