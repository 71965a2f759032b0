"""fairseq's and our commands on finished students: they need no teacher any more."""

import re

import pytest
import torch

from tests.end_to_end.commands import LSTM, SGD, last_number, parameters, run, train


def test_decoding_needs_no_teacher(work, student, tmp_path):
    model = tmp_path / "student.pt"
    state = torch.load(student.last, weights_only=True)
    state["cfg"]["criterion"]["teacher"] = "a-file-that-is-gone.safetensors"
    torch.save(state, model)
    user = ["--user-dir=fairseq_dlf", "--path", model, "--beam=2", "--remove-bpe"]
    generated = run("fairseq-generate", work.bin, *user, "--batch-size=16")
    assert len(re.findall(r"^H-\d+", generated, re.M)) == 16
    assert "BLEU4" in generated
    spoken = run("fairseq-interactive", work.bin, *user, text="der hund schläft\n")
    assert re.search(r"^H-0\t", spoken, re.M)
    validated = run(
        "fairseq-validate", work.bin, "--user-dir=fairseq_dlf", "--path", model, "--batch-size=16", "--task=translation"
    )
    assert last_number("nll_loss", validated) > 0


def test_validate_prints_expected_bleu_of_a_checkpoint(work):
    user = ["--user-dir=fairseq_dlf", "--path", work.warm, "--batch-size=16"]
    printed = run("fairseq-validate", work.bin, *user, "--task=dlf_translation")
    wanted = work.warm_log.splitlines()
    wanted = next(line for line in reversed(wanted) if "| valid | epoch" in line)
    assert last_number("expected_bleu", printed) == pytest.approx(last_number("expected_bleu", wanted), abs=2)
    assert last_number("bleu", printed) == last_number("bleu", wanted)
    assert "nrefs:1|case:mixed" in printed


@pytest.mark.parametrize(
    "criterion", ["dlf_r_drop", "dlf_self_distillation", "dlf_sparse_smoothing", "dlf_scheduled_smoothing"]
)
def test_students_of_all_losses_decode_like_others(work, tmp_path, criterion):
    options = [*LSTM, *SGD, "--criterion", criterion, "--finetune-from-model", work.warm, "--disable-validation"]
    options += ["--distillation-from-start"] if criterion == "dlf_self_distillation" else []
    printed = train(work, *options, "--max-update=2", "--save-dir", tmp_path)
    assert last_number("nll_loss", printed) > 0
    model = tmp_path / "checkpoint_last.pt"
    assert set(parameters(model)) == set(parameters(work.warm))
    generated = run("fairseq-generate", work.bin, "--user-dir=fairseq_dlf", "--path", model, "--batch-size=16")
    assert len(re.findall(r"^H-\d+", generated, re.M)) == 16


def test_averaged_checkpoints_can_be_decoded(work, student, tmp_path):
    average = tmp_path / "average.pt"
    run("dlf-average", "--inputs", student.folder / "checkpoint1.pt", student.last, "--output", average)
    mean = (parameters(student.folder / "checkpoint1.pt")["decoder.fc_out.bias"].double()) / 2
    mean += parameters(student.last)["decoder.fc_out.bias"].double() / 2
    torch.testing.assert_close(parameters(average)["decoder.fc_out.bias"].double(), mean, rtol=1e-6, atol=1e-7)
    user = ["--user-dir=fairseq_dlf", "--path", average, "--batch-size=16"]
    assert "BLEU4" in run("fairseq-generate", work.bin, *user)
