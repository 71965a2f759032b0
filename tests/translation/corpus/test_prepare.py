"""Preparation end to end on made-up corpora; fairseq-preprocess runs for real in one test only."""

import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fairseq")

from fairseq_dlf.core.files.run_folder import only_run_in  # noqa: E402
from fairseq_dlf.translation.corpus import prepare, steps, subwords, workspace  # noqa: E402
from fairseq_dlf.translation.corpus.settings import BPE_MODELS, SPLITS  # noqa: E402
from tests.translation.corpus.made_corpora import (  # noqa: E402
    PAIRS,
    iwslt14_files,
    lines,
    snapshot,
    write_archive,
    write_text,
)

SCRIPT = Path(__file__).parents[3] / "prepare-iwslt14.sh"


def run(*options):
    return prepare.main([str(option) for option in options])


def error_of(capsys, *options):
    """The one line that a user sees."""
    capsys.readouterr()
    assert run(*options) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    found = [line for line in error.splitlines() if line.startswith("dlf-prepare: error: ")]
    assert len(found) == 1
    assert error.splitlines()[-1] == found[0]
    return found[0]


def test_script_prepares_an_archive_end_to_end(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    archive = write_archive(folder / "de-en.tgz", iwslt14_files())
    out = folder / "an out"
    options = ["--archive", str(archive), "--out", str(out), "--bpe-tokens", "60", "--python", sys.executable]
    done = subprocess.run(["bash", str(SCRIPT), *options], capture_output=True, encoding="utf-8", cwd=SCRIPT.parent)
    assert done.returncode == 0, done.stderr
    assert "note: train has 50 lines, fairseq's recipe with the original Perl 160,239" in done.stdout
    assert len(lines(out / "bpe.train.de")) == 50
    assert (out / "bin" / "train.de-en.de.bin").stat().st_size > 0
    assert (out / "bin" / "dict.en.txt").stat().st_size > 0
    assert not (out / ".part").exists()


def test_iwslt14_follows_the_recipe(tmp_path, quick, capsys):
    pairs = PAIRS + [("Ein sehr langer Satz ohne Ende hier", "Short"), ("", "Nothing")]
    archive = write_archive(tmp_path / "de-en.tgz", iwslt14_files(pairs))
    out = tmp_path / "out"
    assert run("iwslt14", "--archive", archive, "--out", out, "--bpe-tokens", 60) == 0
    output = capsys.readouterr()
    assert "dropped 2 train pairs over length 175 or ratio 1.5" in output.err
    clean = ["bücher", "a b : books"] + ["the little dog sleeps , doesn &apos;t it ?"] * 4
    clean += [f"this is book number {number} ." for number in range(46)]
    assert lines(out / "tokenized/valid.en") == clean[22::23]
    assert lines(out / "tokenized/train.en") == [line for n, line in enumerate(clean, 1) if n % 23]
    assert lines(out / "raw/valid.en") == [f"this is book number {number}." for number in (16, 39)]
    order = ["ted.dev2010", "tedx.dev2012", "ted.tst2010", "ted.tst2011", "ted.tst2012"]
    assert lines(out / "raw/test.en") == [f"{name} it's en {number}" for name in order for number in (1, 2)]
    assert lines(out / "tokenized/test.de")[0] == "ted.dev2010 it &apos; s de 1"
    assert output.out.splitlines()[0].split("  ")[-1] == "en subwords"


@pytest.mark.parametrize("bpe", ["subword_nmt", "sentencepiece"])
@pytest.mark.parametrize("workers", [1, 2])
def test_parallel_text_is_segmented_and_can_be_joined_again(tmp_path, quick, bpe, workers):
    raw = write_text(tmp_path / "raw", zipped=workers == 2)
    out = tmp_path / "out"
    options = ("--bpe", bpe, "--bpe-tokens", 70, "--workers", workers)
    assert run("parallel", "--raw", raw, "--out", out, *options) == 0
    joined = {
        "subword_nmt": lambda line: line.replace("@@ ", ""),
        "sentencepiece": lambda line: line.replace(" ", "").replace("▁", " ").strip(),
    }[bpe]
    for name in ("train.de", "test.en"):
        tokens = lines(out / "tokenized" / name)
        segmented = lines(out / f"bpe.{name}")
        assert [joined(line) for line in segmented] == tokens
        assert segmented != tokens
    assert (out / BPE_MODELS[bpe]).exists()


def test_subword_nmt_result_is_that_of_its_command_line(tmp_path, quick):
    out = tmp_path / "out"
    assert run("parallel", "--raw", write_text(tmp_path / "raw"), "--out", out, "--bpe-tokens", 50) == 0
    both = "".join((out / f"tokenized/train.{language}").read_text(encoding="utf-8") for language in ("de", "en"))
    script = "from subword_nmt.subword_nmt import main; main()"
    tool = [sys.executable, "-X", "utf8", "-c", script]
    codes = subprocess.run([*tool, "learn-bpe", "-s", "50"], input=both.encode(), capture_output=True, check=True)
    assert codes.stdout == (out / "code").read_bytes()


def test_tokenized_input_is_only_lower_cased_and_gives_plain_references(tmp_path, quick):
    pairs = [("Das ist , na ja , Peters &apos;s Haus .", "It &apos;s Peter &apos;s house , you know .")] * 3
    out = tmp_path / "out"
    assert run("parallel", "--tokenized", "--raw", write_text(tmp_path / "raw", pairs=pairs), "--out", out) == 0
    assert lines(out / "tokenized/test.en") == ["it &apos;s peter &apos;s house , you know ."] * 3
    assert lines(out / "raw/test.en") == ["it's peter's house, you know."] * 3


def test_multi30k_names_and_other_languages(tmp_path, quick):
    raw = write_text(tmp_path / "raw", splits=("train", "val", "test_2016_flickr"))
    out = tmp_path / "out"
    options = ("--source-lang", "en", "--target-lang", "de", "--bpe-tokens", 50)
    assert run("multi30k", "--raw", raw, "--out", out, *options) == 0
    assert lines(out / "raw/valid.de")[0] == "der kleine hund schläft, nicht wahr?"
    assert (out / "bin/dict.en.txt").exists()


def test_second_run_skips_everything(tmp_path, quick, capsys, monkeypatch):
    options = ("parallel", "--raw", write_text(tmp_path / "raw"), "--out", tmp_path / "out", "--bpe-tokens", 50)
    assert run(*options) == 0
    first = capsys.readouterr()
    monkeypatch.setattr(steps, "split_pairs", None)  # a call would fail
    assert run(*options, "--workers", 2) == 0
    second = capsys.readouterr()
    assert second.err.count("done before") == 4
    assert second.out == first.out


def test_missing_file_is_made_again_with_all_that_follows(tmp_path, quick, capsys):
    out = tmp_path / "out"
    options = ("parallel", "--raw", write_text(tmp_path / "raw"), "--out", out, "--bpe-tokens", 50)
    assert run(*options) == 0
    (out / "code").unlink()
    capsys.readouterr()
    assert run(*options) == 0
    assert capsys.readouterr().err.count("done before") == 1
    assert (out / "code").exists()


def test_changed_options_are_refused_until_overwrite(tmp_path, quick, capsys):
    raw, out = write_text(tmp_path / "raw"), tmp_path / "out"
    options = ("parallel", "--raw", raw, "--out", out)
    assert run(*options, "--bpe-tokens", 50) == 0
    message = error_of(capsys, *options, "--bpe-tokens", 60)
    assert "bpe_tokens was 50, is now 60" in message
    assert "name another folder" in message
    assert "--overwrite" in message
    write_text(raw, splits=["test"], pairs=PAIRS[:9])
    assert "the input files have changed" in error_of(capsys, *options, "--bpe-tokens", 50)
    assert run(*options, "--bpe-tokens", 60, "--overwrite", "--bpe", "sentencepiece") == 0
    assert len(lines(out / "bpe.test.de")) == 9
    assert not (out / "code").exists()


def test_foreign_and_broken_folders_are_left_alone(tmp_path, quick, capsys):
    raw, out = write_text(tmp_path / "raw"), tmp_path / "out"
    out.mkdir()
    (out / "bin").write_text("mine")
    message = error_of(capsys, "parallel", "--raw", raw, "--out", out, "--overwrite")
    assert "is not empty and has no prepare.json" in message
    assert (out / "bin").read_text() == "mine"
    (out / "prepare.json").write_text("{")
    assert "overwrite the folder to prepare again (--overwrite)" in error_of(
        capsys, "parallel", "--raw", raw, "--out", out
    )


class FullDisk(io.StringIO):
    """A file on a disk that has just become full."""

    def writelines(self, texts):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_leaves_nothing_half_written_and_the_next_run_goes_on(tmp_path, quick, capsys, monkeypatch):
    out = tmp_path / "out"
    options = ("parallel", "--raw", write_text(tmp_path / "raw"), "--out", out, "--bpe-tokens", 50)

    def full_at_bpe(path, *rest, **named):
        if "w" in rest and Path(path).name == "bpe.valid.en":
            Path(path).touch()
            return FullDisk()
        return open(path, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(workspace, "open", full_at_bpe, raising=False)
        message = error_of(capsys, *options)
    assert "the disk is full" in message
    assert "free some space and run the same command again" in message
    expected = {"lock"} | {f"tokenized/{split}.{lang}" for split in SPLITS for lang in ("de", "en")}
    assert snapshot(out) == expected | {"raw/valid.en", "raw/test.en", "code", "prepare.json"}
    assert list(json.loads((out / "prepare.json").read_text())["finished"]) == ["tokenise", "learn"]
    assert run(*options) == 0
    assert capsys.readouterr().err.count("done before") == 2


def test_interrupt_leaves_nothing_half_written(tmp_path, quick, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    monkeypatch.setattr(subwords, "learn_subword_nmt", interrupted)
    assert run("parallel", "--raw", write_text(tmp_path / "raw"), "--out", out) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert not (out / ".part").exists()
    assert not (out / "code").exists()


def test_failing_preprocess_is_one_line(tmp_path, capsys, monkeypatch):
    raw = write_text(tmp_path / "raw")
    monkeypatch.setattr(steps.sys, "executable", "false")
    message = error_of(capsys, "parallel", "--raw", raw, "--out", tmp_path / "out", "--bpe-tokens", 50)
    assert "fairseq-preprocess failed with status 1" in message
    assert not (tmp_path / "out" / "bin").exists()


def archive_case(kind, path):
    """Write an archive with one fault."""
    files = iwslt14_files()
    if kind == "text":
        path.write_text("<html>404</html>")
    elif kind == "truncated":
        write_archive(path, files)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "layout":
        write_archive(path, {name: text for name, text in files.items() if "tst2011" not in name})
    elif kind == "traversal":
        write_archive(path, files | {"../../evil.sh": "x"})
    elif kind == "counts":
        files["de-en/train.tags.de-en.en"] += "one more\n"
        write_archive(path, files)
    elif kind == "references":
        name = "de-en/IWSLT14.TED.tst2010.de-en.en.xml"
        files[name] = files[name].replace("TED.tst2010 It’s en 2", "")
        write_archive(path, files)
    elif kind == "sparse":
        write_archive(path, files, sparse="de-en/train.tags.de-en.de")
    elif kind == "small":
        write_archive(path, iwslt14_files(PAIRS[:12]))
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", ["there is no archive", "--archive"]),
        ("text", ["de-en.tgz is corrupt", "fetch it again"]),
        ("truncated", ["de-en.tgz is corrupt", "fetch it again"]),
        ("layout", ["lacks de-en/IWSLT14.TED.tst2011.de-en.de.xml, de-en/IWSLT14.TED.tst2011.de-en.en.xml"]),
        ("traversal", ["outside its folder", "../../evil.sh", "source that you trust"]),
        ("references", ["empty reference in de-en/IWSLT14.TED.tst2010.de-en.en.xml (segment 2)"]),
        ("sparse", ["lacks de-en/train.tags.de-en.de"]),
        ("counts", ["train.tags.de-en.de has 52 lines", "train.tags.de-en.en has 53", "same number"]),
        ("small", ["valid split has no pair", "one in 23", "at least two pairs"]),
    ],
)
def test_bad_archives(tmp_path, quick, capsys, kind, words):
    archive = archive_case(kind, tmp_path / "de-en.tgz")
    message = error_of(capsys, "iwslt14", "--archive", archive, "--out", tmp_path / "out")
    assert [word for word in words if word not in message] == []
    assert not (tmp_path / "evil.sh").exists()
    assert snapshot(tmp_path / "out") <= {"lock", "prepare.json"}


def test_checksum_is_checked_when_given(tmp_path, quick, capsys):
    archive = write_archive(tmp_path / "de-en.tgz", iwslt14_files())
    options = ("iwslt14", "--archive", archive, "--out", tmp_path / "out", "--bpe-tokens", 50, "--sha256")
    assert "wanted 00ff" in error_of(capsys, *options, "00ff")
    assert run(*options, prepare.sha256_of(archive).upper()) == 0


def raw_case(kind, raw):
    """Write parallel text with one fault."""
    write_text(raw)
    if kind == "split":
        (raw / "valid.en").unlink()
    elif kind == "counts":
        (raw / "test.en").write_text("one\n")
    elif kind == "empty":
        write_text(raw, splits=["valid"], pairs=[])
    elif kind == "latin":
        (raw / "test.de").write_bytes("schön\n".encode("latin-1"))
    elif kind == "zip":
        (raw / "test.de").rename(raw / "test.de.gz")
    elif kind == "nothing":
        (raw / "test.de").unlink()
        (raw / "test.de.gz").touch()
    elif kind == "letters":
        write_text(raw, splits=["train"], pairs=[("a", "b")] * 3)
    return raw if kind != "folder" else raw / "none"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("folder", ["there is no folder", "--raw"]),
        ("split", ["has no valid.en or valid.en.gz", "the folder that holds every split", "(--raw)"]),
        ("counts", ["test.de has 50 lines, ", "test.en has 1", "same number"]),
        ("empty", ["the valid split has no pair", "at least two pairs"]),
        ("latin", ["test.de is not UTF-8", "convert"]),
        ("zip", ["test.de.gz is corrupt", "fetch it again"]),
        ("nothing", ["test.de.gz is empty (0 bytes), not a gzip file", "fetch it again"]),
        ("letters", ["subword_nmt cannot learn 4,000 subwords", "(--bpe-tokens)"]),
    ],
)
def test_bad_text(tmp_path, quick, capsys, kind, words):
    raw = raw_case(kind, tmp_path / "raw")
    out = tmp_path / "out"
    message = error_of(capsys, "parallel", "--raw", raw, "--out", out)
    assert [word for word in words if word not in message] == []
    write_text(raw)
    (raw / "test.de.gz").unlink(missing_ok=True)
    assert run("parallel", "--raw", raw, "--out", out, *(["--overwrite"] if kind == "letters" else [])) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bpe-tokens", "100001"], ["bpe_tokens is 100001", "between 1 and 100000", "(--bpe-tokens)"]),
        (["--bpe", "sentencepiece", "--bpe-tokens", "5"], ["sentencepiece cannot learn 5 subwords", "(--bpe-tokens)"]),
        (["--max-ratio", "0.5"], ["max_ratio is 0.5", "at least 1", "(--max-ratio)"]),
        (["--max-positions", "1"], ["max_positions is 1", "at least 2", "(--max-positions)"]),
        (["--workers", "1025"], ["workers is 1025", "between 1 and 1024", "(--workers)"]),
        (["--target-lang", "de"], ["both languages are de", "name two", "(--target-lang)"]),
        (["--source-lang", "../x"], ["'../x' is not a code", "(--source-lang)"]),
    ],
)
def test_bad_values_are_one_line_with_the_option(tmp_path, quick, capsys, options, words):
    raw = write_text(tmp_path / "raw")
    message = error_of(capsys, "parallel", "--raw", raw, "--out", tmp_path / "out", *options)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bpe-tokens", "0"], "argument --bpe-tokens: got 0, wanted 1 or more"),
        (["--bpe", "wordpiece"], "argument --bpe: invalid choice: 'wordpiece'"),
        (["--max-length", "0"], "argument --max-length: got 0, wanted 1 or more"),
        (["--workers", "two"], "argument --workers: got 'two', wanted a whole number"),
        (["--out", ""], "argument --out: got an empty name"),
        (["--nothing"], "unrecognized arguments: --nothing"),
    ],
)
def test_bad_arguments_are_named(tmp_path, capsys, options, words):
    with pytest.raises(SystemExit) as stopped:
        run("parallel", "--raw", tmp_path, "--out", tmp_path / "out", *options)
    assert stopped.value.code == 2 and words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_in_the_folder_is_refused(tmp_path, quick, capsys):
    raw, out = write_text(tmp_path / "raw"), tmp_path / "out"
    with only_run_in(out):
        message = error_of(capsys, "parallel", "--raw", raw, "--out", out)
        assert f"another process runs in {out}: wait until it ends" in message and "(--out)" in message
    assert snapshot(out) == {"lock"}
    assert run("parallel", "--raw", raw, "--out", out, "--bpe-tokens", 50) == 0


@pytest.mark.parametrize("name", ["file", "file/deep"])
def test_an_out_that_is_no_folder_is_named(tmp_path, quick, capsys, name):
    (tmp_path / "file").touch()
    message = error_of(capsys, "parallel", "--raw", write_text(tmp_path / "raw"), "--out", tmp_path / name)
    assert f"{tmp_path / name} cannot be the run's folder" in message and "(--out)" in message


def test_a_folder_of_an_earlier_version_goes_on(tmp_path, quick, capsys):
    raw, out = write_text(tmp_path / "raw"), tmp_path / "out"
    options = ("parallel", "--raw", raw, "--out", out, "--bpe-tokens", 50)
    assert run(*options) == 0
    manifest = out / "prepare.json"
    record = json.loads(manifest.read_text())
    for later in ("max_positions", "train_pairs", "misaligned", "cut_seed"):
        del record["options"][later]
    del record["finished"]["segment"]["dropped_pairs"]
    manifest.write_text(json.dumps(record))
    (out / "lock").unlink()
    capsys.readouterr()
    assert run(*options) == 0
    assert capsys.readouterr().err.count("done before") == 4
    assert "max_positions was 1024, is now 999" in error_of(capsys, *options, "--max-positions", 999)


LONG = ("ja " * 40 + ".", "yes " * 40 + ".")


@pytest.mark.parametrize("split", ["valid", "test"])
def test_dev_and_test_sentences_that_are_too_long_are_refused(tmp_path, quick, capsys, split):
    raw, out = write_text(tmp_path / "raw"), tmp_path / "out"
    write_text(raw, splits=[split], pairs=[*PAIRS[:6], LONG])
    options = ("parallel", "--raw", raw, "--out", out, "--bpe-tokens", 50)
    message = error_of(capsys, *options, "--max-positions", 41)
    assert f"line 7 of {out}/tokenized/{split}.de has " in message
    assert "subwords, more than the 40" in message and "(--max-positions)" in message
    assert not (out / "bin").exists()
    assert run(*options, "--max-positions", 400, "--overwrite") == 0
    assert len(lines(out / f"bpe.{split}.de")) == 7


def test_train_may_be_cut_and_misaligned(tmp_path, quick, capsys):
    raw, out = write_text(tmp_path / "raw"), tmp_path / "out"
    options = ("parallel", "--raw", raw, "--out", out, "--bpe-tokens", 40)
    assert run(*options, "--train-pairs", len(PAIRS) - 2, "--misaligned", "0.5") == 0
    assert f"kept {len(PAIRS) - 2} train pairs, of which 50% are misaligned" in capsys.readouterr().err
    assert len(lines(out / "tokenized/train.de")) == len(PAIRS) - 2
    assert len(lines(out / "tokenized/valid.de")) == len(lines(out / "raw/valid.en"))
    message = error_of(capsys, *options, "--train-pairs", len(PAIRS) - 2)
    assert "misaligned was 0.5, is now 0.0" in message
    message = error_of(capsys, *options, "--train-pairs", 1000, "--overwrite")
    assert f"train_pairs is 1,000, but there are {len(PAIRS)} clean train pairs" in message
    assert "(--train-pairs)" in message


def test_train_pairs_that_are_too_long_are_dropped_and_counted(tmp_path, quick, capsys):
    raw, out = write_text(tmp_path / "raw"), tmp_path / "out"
    write_text(raw, splits=["train"], pairs=[*PAIRS, LONG, LONG])
    options = ("parallel", "--raw", raw, "--out", out, "--bpe-tokens", 60)
    assert run(*options, "--max-positions", 41) == 0
    assert "dropped 2 train pairs of more than 40 subwords" in capsys.readouterr().err
    assert len(lines(out / "bpe.train.de")) == len(lines(out / "bpe.train.en")) == len(PAIRS)
    assert run(*options, "--max-positions", 41) == 0
    assert "dropped 2 train pairs of more than 40 subwords" in capsys.readouterr().err


@pytest.mark.parametrize("split", ["train", "valid"])
def test_one_pair_is_too_few(tmp_path, quick, capsys, split):
    raw = write_text(tmp_path / "raw")
    write_text(raw, splits=[split], pairs=PAIRS[:1])
    message = error_of(capsys, "parallel", "--raw", raw, "--out", tmp_path / "out")
    assert f"the {split} split has one pair only" in message and "wants at least two pairs" in message


@pytest.mark.parametrize("blank", ["", " \u2003"])
def test_an_empty_reference_is_refused_with_its_place(tmp_path, quick, capsys, blank):
    raw = write_text(tmp_path / "raw")
    write_text(raw, splits=["test"], pairs=[*PAIRS[:3], ("Etwas.", blank), *PAIRS[4:]])
    message = error_of(capsys, "parallel", "--raw", raw, "--out", tmp_path / "out")
    assert f"empty reference in {raw}/test.en (line 4): remove the pair" in message


def test_a_byte_order_mark_is_left_out_and_told(tmp_path, quick, capsys):
    raw, out = write_text(tmp_path / "raw folder"), tmp_path / "an out folder"
    for name in ("train.de", "test.en"):
        (raw / name).write_bytes(b"\xef\xbb\xbf" + (raw / name).read_bytes().replace(b"\n", b"\r\n"))
    assert run("parallel", "--raw", raw, "--out", out, "--bpe-tokens", 50) == 0
    told = capsys.readouterr().err
    assert f"note: {raw}/train.de begins with a byte-order mark" in told and "test.en begins" in told
    assert lines(out / "tokenized/train.de")[0] == "der kleine hund schläft , nicht wahr ?"
    assert lines(out / "raw/test.en")[0] == "the little dog sleeps, doesn't it?"


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--help"], 0, ["--archive FILE", "checksum", "160,239 train, 7,283 valid"]),
        (["--archive"], 1, ["--archive needs a value"]),
        (["--fast"], 1, ["unknown option --fast"]),
        (["--python", "no-such-python"], 1, ["there is no no-such-python", "--python"]),
    ],
)
def test_script_options(options, status, words):
    done = subprocess.run(["bash", str(SCRIPT), *options], capture_output=True, encoding="utf-8")
    assert done.returncode == status
    assert [word for word in words if word not in done.stdout + done.stderr] == []
