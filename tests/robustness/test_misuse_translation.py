"""Wrong options of translation: what was got, what is wanted and what to do, before any training."""

import re
import shlex

import pytest

pytest.importorskip("fairseq")

from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

import fairseq_dlf.translation.plugins  # noqa: F401
from fairseq_dlf.translation.corpus import prepare
from fairseq_dlf.translation.tools import average, compare
from tests.robustness import made
from tests.robustness.driver import last_line
from tests.robustness.readers import RefusedError, by_command

COMMANDS = {"prepare": prepare.main, "average": average.main, "compare": compare.main}
# Command and what its one line has to say; file: a file, raw, bin, student: as in `made.Corpus`.
WRONG_TOOLS = {
    "out is a file": ("prepare parallel --raw {raw} --out file", ["file", "folder|directory"]),
    "out is nothing": ("prepare parallel --raw {raw} --out ''", ["--out", "empty"]),
    "raw is nowhere": ("prepare parallel --raw nowhere --out x", ["nowhere"]),
    "out is full of other things": ("prepare parallel --raw {raw} --out {raw}", ["not empty"]),
    "tokens": ("prepare parallel --raw {raw} --out x --bpe-tokens 0", ["--bpe-tokens", "0"]),
    "length": ("prepare parallel --raw {raw} --out x --max-length 0", ["--max-length", "0"]),
    "ratio": ("prepare parallel --raw {raw} --out x --max-ratio nan", ["--max-ratio", "nan"]),
    "workers": ("prepare parallel --raw {raw} --out x --workers 0", ["--workers", "0"]),
    "language": ("prepare parallel --raw {raw} --out x --source-lang ../de", [r"\.\./de"]),
    "same language": ("prepare parallel --raw {raw} --out x --source-lang en", ["en"]),
    "archive": ("prepare iwslt14 --archive nowhere.tgz --out x", ["nowhere.tgz"]),
    "average into a folder": ("average --inputs {student} --output .", ["--output|output"]),
    "average into a file's folder": ("average --inputs {student} --output file/x.pt", ["file"]),
    "average of nothing": ("average --inputs nowhere.pt --output x.pt", ["nowhere.pt"]),
    "average of a teacher": ("average --inputs {student} {teacher} --output x.pt", ["checkpoint_last"]),
    "too few": ("average --checkpoint-dir . --last 2 --output x.pt", ["wanted 2|2"]),
    "last": ("average --checkpoint-dir . --last 0 --output x.pt", ["--last", "0"]),
    "JSON into a folder": (
        "compare --references {raw}/test.en --baseline a a={raw}/test.en --json .",
        ["--json|json"],
    ),
    "no outputs": ("compare --references {raw}/test.en --baseline a a={raw}/test.en", ["test.en", "H lines|fairseq"]),
    "references are nowhere": ("compare --references nowhere --baseline a a={raw}/test.en", ["nowhere"]),
    "baseline": ("compare --references {raw}/test.en --baseline b a={raw}/test.en", ["b", "a"]),
    "bootstrap": ("compare --references {raw}/test.en --baseline a a={raw}/test.en --bootstrap 0", ["--bootstrap"]),
    "shuffles": ("compare --references {raw}/test.en --baseline a a={raw}/test.en --shuffles 0", ["--shuffles"]),
}
STUDENT = ["--criterion=dlf", "--task=dlf_translation", "--max-update=4"]
# Arguments beside a good command's, and what the error has to say.
WRONG_TEACHING = {
    "idle schedule": (["--checkpoint-every=2"], ["--checkpoint-every"]),
    "long schedule": (["--trajectory=checkpoints", "--checkpoint-every=9"], ["--checkpoint-every", "9"]),
    "nobody to share with": (["--share-episodes"], ["--share-episodes"]),
    "kinks of exact products": (["--allow-kinks=relu"], ["--allow-kinks"]),
    "step of exact products": (["--difference-step=1e-4"], ["--difference-step"]),
    "momentum of sgd": (["--student-momentum=0.5"], ["--student-momentum"]),
    "smoothing of nothing": (["--label-smoothing=0.1"], ["--label-smoothing", "--ce-share"]),
    "infinite rate": (["--student-lr=inf"], ["--student-lr", "inf"]),
    "no rate": (["--student-lr=nan"], ["--student-lr", "nan"]),
    "no batch": (["--batch-size=0"], ["--batch-size", "0"]),
    "negative batch": (["--batch-size=-1"], ["--batch-size", "-1"]),
    "nowhere": (["--trajectory-storage=disk", "--trajectory-dir=nowhere"], ["--trajectory-dir", "nowhere"]),
    "steps": (["--student-steps=0"], ["--student-steps|student steps", "0"]),
    "share": (["--collapse-share=nan"], ["--collapse-share|collapse_share", "nan"]),
    "candidates": (["--candidates=1"], ["--candidates|candidates", "2"]),
    "teacher's rate": (["--lr=-1"], ["--lr", "-1"]),
}
WRONG_STUDENTS = {
    "both": (["--teacher={teacher}", "--coefficients=2"], ["--coefficients", "--teacher"]),
    "smoothing of nothing": (["--label-smoothing=0.1"], ["--label-smoothing", "--ce-share"]),
    "progress of nobody": (["--progress-sentences=8"], ["--progress-sentences", "--teacher"]),
    "progress too often": (["--teacher={teacher}", "--progress-interval=-1"], ["--progress-interval", "-1"]),
    "broken JSON": (["--eval-bleu-args={{bad"], ["--eval-bleu-args", "bad"]),
    "a list": (["--eval-bleu-args=[]"], ["--eval-bleu-args"]),
    "no beam": (['--eval-bleu-args={{"beam": 0}}'], ["--eval-bleu-args", "beam"]),
    "share": (["--ce-share=2"], ["--ce-share|ce_share", "2"]),
    "coefficient": (["--coefficients=nan"], ["--coefficients|coefficients", "nan"]),
    "teacher": (["--teacher=nowhere.pt"], ["nowhere.pt"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made_folder = tmp_path_factory.mktemp("misuse")
    (made_folder / "file").write_text("I am a file.\n")
    return made_folder


def has(text: str, words: list[str]) -> None:
    for word in words:
        assert re.search(word, text), text


@pytest.mark.parametrize("name", WRONG_TOOLS)
def test_a_wrong_option_of_a_tool_is_named(name, corpus, folder, monkeypatch):
    monkeypatch.chdir(folder)
    command, words = WRONG_TOOLS[name]
    tool, *arguments = shlex.split(command.format(**corpus._asdict()))
    with pytest.raises(RefusedError) as refused:
        by_command(COMMANDS[tool], *arguments)
    has(str(refused.value), words)


def set_up(arguments: list[str]) -> None:
    """Do what fairseq-train does before its first update."""
    parsed = options.parse_args_and_arch(options.get_training_parser(), [str(each) for each in arguments])
    cfg = convert_namespace_to_omegaconf(parsed)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    task.build_criterion(cfg.criterion).train()
    task.load_dataset("train")
    limits = {"max_tokens": cfg.dataset.max_tokens, "max_sentences": cfg.dataset.batch_size}
    iterator = task.get_batch_iterator(task.dataset("train"), **limits, max_positions=(1024, 1024))
    task.begin_epoch(1, model)
    next(iterator.next_epoch_itr(shuffle=False))


def error_of(arguments: list[str], capsys) -> str:
    """What fairseq-train says: the text of an exception, or argparse's complaint."""
    with pytest.raises((Exception, SystemExit)) as raised:
        set_up(arguments)
    return capsys.readouterr().err if raised.type is SystemExit else str(raised.value)


def test_the_good_commands_are_right(corpus, tmp_path):
    set_up(made.fairseq_teach(corpus, tmp_path / "teacher").arguments)
    set_up(made.fairseq_student(corpus, tmp_path / "student").arguments)


@pytest.mark.parametrize("name", WRONG_TEACHING)
def test_a_wrong_option_of_teaching_is_named(name, corpus, tmp_path, capsys):
    wrong, words = WRONG_TEACHING[name]
    has(error_of([*made.fairseq_teach(corpus, tmp_path).arguments, *wrong], capsys), words)


def test_a_rate_that_would_end_a_student_at_once_is_refused(corpus, tmp_path):
    line = made.fairseq_student(corpus, tmp_path)
    ended = line._replace(arguments=[*line.arguments, "--lr=-1"]).start().wait()
    assert ended.status == 1
    has(last_line(ended.printed), ["--lr is -1", "must be"])


@pytest.mark.parametrize("name", WRONG_STUDENTS)
def test_a_wrong_option_of_a_student_is_named(name, corpus, tmp_path, capsys):
    wrong, words = WRONG_STUDENTS[name]
    start = [corpus.bin, "--user-dir=fairseq_dlf", *made.LSTM, "--optimizer=sgd", "--lr=0.5", "--batch-size=16"]
    wrong = [each.format(teacher=corpus.teacher) for each in wrong]
    has(error_of([*start, *STUDENT, "--save-dir", tmp_path, *wrong], capsys), words)
