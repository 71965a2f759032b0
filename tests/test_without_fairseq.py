"""Core and images where fairseq and the libraries of translation cannot be had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fairseq_dlf
from tests.forking import ONE_THREAD, REPOSITORY, TIMEOUT_S

# Put in front of a program: an import of what translation needs fails as if it were not installed.
HIDE = """
import runpy, sys

class Hidden:
    names = {"fairseq", "fairseq_cli", "sacrebleu", "sacremoses", "subword_nmt", "sentencepiece", "hydra", "omegaconf"}

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""
RUN = HIDE + "sys.argv = sys.argv[1:]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"


def python(*words, folder=REPOSITORY):
    """Runs a program with translation's libraries hidden, and returns what it printed."""
    variables = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, encoding="utf-8", timeout=TIMEOUT_S)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def modules(part):
    """The names of all modules in a part of the package."""
    root = Path(fairseq_dlf.__file__).parent
    files = sorted((root / part).rglob("*.py"))
    return [".".join(file.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__") for file in files]


def test_what_is_hidden_cannot_be_imported():
    code = HIDE + "\ntry:\n    import fairseq.tasks\nexcept ModuleNotFoundError as error:\n    print(error)"
    assert "No module named 'fairseq'" in python(code)


@pytest.mark.parametrize("part", ["core", "images"])
def test_every_module_can_be_imported(part):
    wanted = [name for name in modules(part) if not name.endswith("__main__")]
    assert len(wanted) > 10
    code = f"{HIDE}\nimport importlib\nfor name in {wanted}: importlib.import_module(name)\nprint('imported')"
    assert "imported" in python(code)


def test_a_teacher_is_learnt_and_used(tmp_path):
    short = ["--data", "digits", "--model", "mlp-3", "--epochs", "0.05", "--batch-size", "32", "--device", "cpu"]
    teach = ["--teacher-steps", "1", "--validation-students", "1", "--validate-every", "1", "--measure-images", "32"]
    taught = ["--loss", "dlf", "--teacher", "teacher/teacher.safetensors", "--seeds", "1"]
    commands = [
        ["check", *short, *teach],
        ["teach", *short, *teach, "--out", "teacher"],
        ["train", *short, *taught, "--out", "student"],
        ["table", "student"],
    ]
    code = f"{HIDE}\nfrom fairseq_dlf.images.command_line import main\nprint([main(words) for words in {commands}])"
    printed = python(code, folder=tmp_path)
    assert "| dlf " in printed and "[0, 0, 0, 0]" in printed


def test_the_example_of_the_core_runs():
    code = f"{HIDE}\nrunpy.run_path('examples/class_weights.py')['main'](teacher_steps=2)"
    assert " 1: weights " in python(code)


@pytest.mark.slow
def test_a_clone_is_used_without_installing_it(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "new"], check=True)
    new = str(tmp_path / "new" / "bin" / "python")
    wanted = ["-c", "constraints.txt", "-r", "requirements-core.txt"]
    subprocess.run([new, "-m", "pip", "install", "-q", *wanted], cwd=REPOSITORY, check=True)
    short = ["--epochs", "1", "--model", "mlp-3", "--lr", "0.1", "--out", tmp_path / "student"]
    train = [new, "-m", "fairseq_dlf.images", "train", *short]
    done = subprocess.run(train, cwd=REPOSITORY, capture_output=True, encoding="utf-8", timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run([new, "-m", "pip", "list"], capture_output=True, encoding="utf-8", check=True).stdout
    assert "torch " in listed and "fairseq" not in listed


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["core", "images"])
def test_the_tests_of_core_and_images_pass(folder):
    # hydra, which is hidden, brings a plugin of pytest.
    plugins = ["-p", "no:cacheprovider", "-p", "no:hydra_pytest"]
    printed = python(RUN, "pytest", f"tests/{folder}", *plugins, "-m", "not slow")
    assert " passed" in printed and "failed" not in printed
