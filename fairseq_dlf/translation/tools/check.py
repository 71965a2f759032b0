"""Check, with a few short trainings, whether teaching a student is worth its price.

Takes the data-bin and the options of `--task dlf_teaching`, prints whether the student can be differentiated as they
want, what an episode will cost, how smoothly the student depends on Φ, and how far losses move its greedy BLEU.
"""

import sys
from collections.abc import Sequence

from fairseq_dlf.command_line import run_command, version_text

PROGRAM = "dlf-check"
USAGE = f"""usage: {PROGRAM} DATA-BIN --student CHECKPOINT [options of --task dlf_teaching]
       {PROGRAM} --version

`fairseq-train DATA-BIN --user-dir fairseq_dlf --task dlf_teaching --help` lists these options."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(f"{__doc__}\n{USAGE}")
        return 0 if words else 2
    if words == ["--version"]:
        print(version_text())
        return 0

    def check() -> None:
        # Takes seconds, for which --help need not wait.
        from fairseq_dlf.translation.tools.findings import run

        run(words)

    return run_command(PROGRAM, check, stopped="stopped")


if __name__ == "__main__":
    sys.exit(main())
