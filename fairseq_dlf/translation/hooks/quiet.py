"""Less noise around fairseq's runs: other packages' warnings, the configuration, tracebacks of the user's mistakes.

Importing this module filters it. Forced by: fairseq 0.12.3 uses hydra in ways that later versions of hydra warn of, in
twelve lines a command, asks for tensorboardX wherever it is imported, and logs its whole configuration in one line.
"""

import logging
import shlex
import sys
import warnings
from pathlib import Path
from types import TracebackType
from typing import Optional

from fairseq_dlf.core.support.errors import UserError

# Of fairseq's configuration, in characters: all of it takes some 11,000.
SHOWN = 2000
# Modules whose warnings are left out.
HYDRA = r"hydra(\.|$)"
_python_hook = sys.excepthook


def show_command(record: logging.LogRecord) -> bool:
    """Put the command in place of a configuration that is too long to read; checkpoints hold all of it."""
    message = str(record.msg)
    if len(message) > SHOWN and message.startswith("{'_name': None"):
        record.msg = f"command: {shlex.join(sys.argv)} (checkpoints hold the whole configuration)"
    return True


def show_error(kind: type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
    """Show a mistake of the user in one line, as our own commands do, and any other error as Python does."""
    if issubclass(kind, UserError):
        logging.shutdown()
        print(f"{_program()}: error: {error}", file=sys.stderr)
    else:
        _python_hook(kind, error, trace)


def _program() -> str:
    return Path(sys.argv[0]).name or "python"


warnings.filterwarnings("ignore", module=HYDRA)
warnings.filterwarnings("ignore", message=r"\s*'config' is validated against ConfigStore")  # hydra's, in no module
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.ERROR)
logging.getLogger("fairseq_cli.train").addFilter(show_command)
sys.excepthook = show_error
