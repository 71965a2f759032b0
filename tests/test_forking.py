"""Commands that a server forks behave as those that `python -m` starts."""

import signal
import subprocess
import sys
import time

import pytest

from tests.forking import Command, _forget, run

MODULE = """
import os, sys, time
print(sys.argv[1:], os.getcwd() == os.path.realpath(sys.path[0]), __name__, os.environ.get("GREETING"))
print(sys.stdin.readline().strip(), file=sys.stderr)
if "wait" in sys.argv:
    print("waiting", flush=True)
    time.sleep(600)
if "fail" in sys.argv:
    raise ValueError("no such thing")
sys.exit(3 if "three" in sys.argv else "ended" if "text" in sys.argv else None)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "made_command.py").write_text(MODULE, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("word", "status"), [("plain", 0), ("three", 3), ("text", 1), ("fail", 1)])
def test_a_forked_command_is_like_one_of_its_own(folder, word, status):
    found = run("made_command", word, cwd=folder, text="grüße\n", environment={"GREETING": "hallo"})
    assert (found.status, found.out) == (status, f"['{word}'] True __main__ hallo\n")
    assert found.err.startswith("grüße\n")
    assert ("ended" in found.err) == (word == "text")
    assert ("ValueError: no such thing" in found.err) == (word == "fail")
    plain = [sys.executable, "-m", "made_command", word]
    assert subprocess.run(plain, cwd=folder, input=b"", capture_output=True, check=False).returncode == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_command_keeps_what_it_printed(folder, number):
    command = Command("made_command", "wait", cwd=folder)
    while "waiting" not in command.out():
        assert command.runs()
        time.sleep(0.01)
    command.kill(number)
    assert command.wait().status == -number


def test_a_command_that_hangs_is_ended(folder):
    command = Command("made_command", "wait", cwd=folder)
    with pytest.raises(TimeoutError, match="still ran"):
        command.wait(timeout_s=0.1)


def test_packages_are_forgotten_with_their_parts(monkeypatch):
    for name in ("made_package", "made_package.part", "made_package_too"):
        monkeypatch.setitem(sys.modules, name, None)
    _forget(["made_package"])
    assert [name for name in sys.modules if name.startswith("made_package")] == ["made_package_too"]
