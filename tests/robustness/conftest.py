"""A line of JSON for each figure at the end."""

import json

import pytest
import torch

from tests.forking import run
from tests.robustness import made

torch.set_num_threads(1)
KEY = "robustness"


@pytest.fixture(scope="session")
def forking():
    """Have the server load its libraries before anything is timed."""
    assert run("keyword").status == 0


@pytest.fixture(scope="session")
def corpus(forking, tmp_path_factory):
    """A translation corpus with its student and its teacher."""
    pytest.importorskip("fairseq")
    from fairseq_dlf.translation.hooks.safe_globals import allow_checkpoint_globals

    allow_checkpoint_globals()
    return made.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def figures(request, record_property):
    """`figures(kills=50, …)`: note what a test has counted, for the summary."""
    return lambda **found: record_property(KEY, {"test": request.node.name, **found})


def pytest_terminal_summary(terminalreporter):
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    found = [value for report in reports for name, value in report.user_properties if name == KEY]
    if found:
        terminalreporter.section("robustness")
    for value in found:
        terminalreporter.line(json.dumps(value, ensure_ascii=False))
