"""The command refuses what it does not know, and every benchmark fills its table."""

import gzip

import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY

from benchmarks import __main__ as command
from benchmarks import (
    adaptation,
    cases,
    episode,
    expected_bleu,
    lesson,
    memory,
    micro_batches,
    student_losses,
    teacher_file,
    whole_run,
)
from benchmarks import error as error_benchmark
from fairseq_dlf.translation.bleu.candidates import find_candidates
from fairseq_dlf.translation.bleu.expected import ExpectedBleuSettings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no benchmark 'nothing'; choose from episode"),
        (["episode", "--students", "nobody"], "no student 'nobody'; choose from lstm"),
        (["episode", "--steps", "0"], "argument --steps: got 0, wanted 1 or more"),
        (["episode", "--mnist", "."], "--mnist means nothing to episode"),
    ],
)
def test_the_command_refuses_what_it_does_not_know(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit):
        command.main()
    assert message in capsys.readouterr().err


def test_mnist_that_is_missing_is_named_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "whole_run", "--mnist", str(tmp_path), "--out", str(tmp_path)])
    monkeypatch.setattr(command, "settle", lambda: None)
    assert command.main() == 1
    assert "error: found none of train-images-idx3-ubyte.gz" in capsys.readouterr().err.splitlines()[-1]


def write_mnist(folder, count):
    """A train split of so many images of 28 x 28, of which image i is all i and has label i % 10."""
    for name, header, content in (
        ("images-idx3", (0x803, count, 28, 28), bytes(i for i in range(count) for _ in range(28 * 28))),
        ("labels-idx1", (0x801, count), bytes(i % 10 for i in range(count))),
    ):
        packed = b"".join(number.to_bytes(4, "big") for number in header) + content
        (folder / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(packed))


def test_a_whole_run_trains_on_the_images_of_mnist(tmp_path, monkeypatch):
    write_mnist(tmp_path, 60)
    monkeypatch.setattr(whole_run, "peak_mib", lambda job, **arguments: float(arguments["mnist"] == str(tmp_path)))
    result = whole_run.run(True, steps=[2], repeats=1, mnist=str(tmp_path))
    assert (result["data"], result["rows"][0]["mib"]) == ("MNIST", 1.0)
    batches = whole_run._case(str(tmp_path)).batches
    values = torch.cat([batch.images[:, 0, 0, 0] for batch in batches]) * 255.0
    assert values.sort().values.tolist() == pytest.approx(list(range(60)))
    assert torch.equal(values.round().long() % 10, torch.cat([batch.labels for batch in batches]))


def test_a_short_error_and_a_short_whole_run_fill_their_tables(monkeypatch):
    monkeypatch.setattr(whole_run, "peak_mib", lambda job, **arguments: 1.0)
    for module, options in ((error_benchmark, {"students": ["mlp"]}), (whole_run, {"repeats": 1})):
        lines = module.table(module.run(True, steps=[2], **options)).splitlines()
        assert len(lines) == 3
        assert len({line.count("|") for line in lines}) == 1


def test_a_short_episode_fills_its_table(monkeypatch):
    monkeypatch.setattr(memory, "expected_peer_mib", lambda student, size, steps: 4096.0 * steps)
    result = episode.run(True, students=["mlp"], steps=[1, 2], repeats=1)
    first, second = episode.table(result).splitlines()[2:]
    assert "left out" not in first.split("|")[7]
    assert "left out: about 8 GiB" in second


def test_a_short_lesson_fills_its_table(monkeypatch):
    monkeypatch.setattr(lesson, "build", lambda student, size: cases.build(student, "small"))
    lines = lesson.table(lesson.run(True, steps=[2], repeats=1)).splitlines()
    assert [line.split(" | ")[:4] for line in lines[2:]] == [["| lstm", "16", "2", "1"], ["| mlp", "100", "2", "1"]]


def test_adaptation_fills_its_table(monkeypatch):
    monkeypatch.setattr(adaptation, "peak_mib", lambda job, **arguments: float(arguments["steps"]))
    monkeypatch.setattr(adaptation, "DEV_IMAGES", 20)
    monkeypatch.setattr(adaptation, "WARM_UP_STEPS", 1)
    lines = adaptation.table(adaptation.run(True, steps=[2], repeats=1)).splitlines()
    assert [line.split(" | ")[:4] for line in lines[2:]] == [
        ["| ALA", "reinforce", "2", "1"],
        ["| L2T-DLN", "two_unrolls", "2", "1"],
        ["| L2T-DLF, online", "reverse", "2", "1"],
    ]
    assert all(line.endswith(" | 2 |") for line in lines[2:])


def test_teacher_files_fill_their_table(monkeypatch):
    monkeypatch.setattr(teacher_file, "TYPES", 20)
    lines = teacher_file.table(teacher_file.run(True, repeats=1)).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| writing", "| reading"]


def test_micro_batches_fill_their_table(monkeypatch):
    monkeypatch.setattr(micro_batches, "build_translation", lambda arch, size: cases.build_translation(arch, "small"))
    monkeypatch.setattr(micro_batches, "QUICK_SENTENCES", 9)
    monkeypatch.setattr(micro_batches, "peak_mib", lambda job, **arguments: 8.0 + arguments["parts"])
    lines = micro_batches.table(micro_batches.run(True, repeats=1)).splitlines()
    assert "step of 9 sentences" in lines[0]
    assert [line.split(" | ")[1] for line in lines[2:7]] == [
        "plain training",
        *(f"exact, parts: {n}" for n in (1, 2, 4, 8)),
    ]
    assert lines[2].endswith("| 8 | 1.00 |") and lines[6].endswith("| 16 | 2.00 |")


def test_expected_bleu_fills_its_table(monkeypatch):
    monkeypatch.setattr(expected_bleu, "build_translation", lambda arch, size: cases.build_translation(arch, "small"))
    lines = expected_bleu.table(expected_bleu.run(True, repeats=1)).splitlines()
    parts = ["generation", expected_bleu.BY_FAIRSEQ, "BLEU", "scores with gradient", expected_bleu.PLAINLY]
    parts.append("whole measure")
    wanted = [f"| {arch} | {part}" for arch in ("lstm_dlf_1", "transformer_dlf_small") for part in parts]
    assert [" | ".join(line.split(" | ")[:2]) for line in lines[2:]] == wanted


def test_a_plain_forward_pass_gives_the_same_measure():
    task, module = cases.build_translation("lstm_dlf_1", "small")
    module.eval()
    settings = ExpectedBleuSettings(3)
    candidates = find_candidates(task, module, task.batches(1, seed=2)[0], settings.proposals, seed=3)
    padding = task.target_dictionary.pad()
    plainly = expected_bleu._summed_bleu_plainly(module, candidates, settings, padding)
    once = expected_bleu._summed_bleu(module, module, candidates, settings, padding)
    torch.testing.assert_close(plainly, once)


def test_losses_of_students_fill_their_table(monkeypatch):
    monkeypatch.setattr(
        student_losses, "build_translation", lambda arch, size, **more: cases.build_translation(arch, "small", **more)
    )
    monkeypatch.setattr(student_losses, "WARM_STEPS", 1)
    lines = student_losses.table(student_losses.run(True, repeats=1)).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == [*student_losses.LOSSES] * 2
    registered = {name for name in CRITERION_REGISTRY if name.startswith("dlf_") or name == "dlf"}
    # A step of `dlf_adaptive` is one of `dlf`; its windows end with a decoding of dev.
    assert registered - {"dlf_criterion", "dlf_teaching", "dlf_adaptive"} <= set(student_losses.LOSSES)
