"""The command's actions and mistakes."""

import pytest

from experiments.command_line import main
from experiments.publishing import END
from experiments.records import Records
from tests.experiments.made import TABLE, fill


@pytest.fixture
def call(tmp_path, capsys):
    def run(*arguments, out=True):
        places = ["--results", str(tmp_path / "results")]
        places += ["--out", str(tmp_path / "out")] if out else []
        status = main(["small", *places, *arguments], {"small": TABLE})
        return status, *capsys.readouterr()

    return run


def test_the_report_needs_no_folder_of_runs(call, tmp_path):
    fill(Records(tmp_path / "results" / "small"))
    status, printed, _ = call("--report", out=False)
    assert status == 0
    assert printed.startswith("## Small\n\n### Test\n\n| loss | A | A, average | B | B, average |")


def test_a_report_goes_into_a_document(call, tmp_path):
    fill(Records(tmp_path / "results" / "small"))
    path = tmp_path / "text.md"
    path.write_text(f"Ours:\n<!-- report of small -->\n{END}\n")
    said = [call("--report", "--into", str(path), out=False) for _ in range(2)]
    assert [status for status, _, _ in said] == [0, 0]
    assert "has the tables of small anew" in said[0][1] and "had these tables" in said[1][1]
    text = path.read_text()
    assert text.startswith("Ours:\n<!-- report of small -->\n\n### Test\n") and "plain loss" in text
    status, _, errors = call("--status", "--into", str(path))
    assert status == 1 and "--into" in errors and "pass --report" in errors


def test_a_report_of_nothing_is_refused(call):
    status, printed, errors = call("--report", out=False)
    assert (status, printed) == (1, "")
    assert "there is no record in" in errors and "(--results)" in errors


def test_a_dry_run_prints_commands_in_order_and_touches_nothing(call, tmp_path):
    status, printed, _ = call("--dry-run", "--raw", "corpus")
    lines = printed.splitlines()
    assert status == 0
    assert lines[0].split()[0].endswith("dlf-prepare")
    assert f"--save-dir {tmp_path}/out/arch_a/seed-1/warm" in lines[1]
    assert lines[-1] == "# arch_b/seed-5/taught/…: the setting that tuning will choose"
    assert not (tmp_path / "out").exists()


def test_status_lists_and_sums(call, tmp_path):
    fill(Records(tmp_path / "results" / "small"))
    status, printed, _ = call("--status")
    lines = printed.splitlines()
    assert status == 0
    assert lines[0].split() == ["missing", "data"]
    assert lines[1].split() == ["done", "arch_a/seed-1/warm", "dev", "28.00"]
    assert "done       arch_a/seed-1/plain/lr-1+test  test 35.10" in lines
    assert lines[-1].startswith("24 done (recorded); 4 missing (not begun); checkpoints take 0 B")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "the data is not prepared yet: name the folder of the raw corpus (--raw)"),
        (("--only", "nothing/*"), "no run matches 'nothing/*': list their names by the status (--only)"),
    ],
)
def test_mistakes_are_one_line(call, arguments, words):
    status, _, printed = call(*arguments)
    assert (status, printed) == (1, f"python -m experiments: error: {words}\n")


def test_a_run_needs_a_folder(call):
    status, _, printed = call("--status", out=False)
    assert status == 1
    assert printed.endswith("no folder for data, checkpoints and logs: name one (--out)\n")


def test_an_unknown_table_is_refused(tmp_path):
    with pytest.raises(SystemExit):
        main(["table99", "--report"])
