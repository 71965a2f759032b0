"""What a student takes from the source, against hand-made predictions."""

import math

import pytest
import torch

pytest.importorskip("fairseq")

from fairseq.data import LanguagePairDataset  # noqa: E402

from benchmarks.sentences import made_dictionary  # noqa: E402
from experiments.command_line import main  # noqa: E402
from experiments.source_use import source_use  # noqa: E402
from fairseq_dlf.core.support.errors import InputError  # noqa: E402
from tests.translation.tiny_runs import STUDENT, make_data_bin, train  # noqa: E402

TYPES, SURE = 12, 0.9


class Copyist(torch.nn.Module):
    """Gives the word of the source at the same place the probability `SURE`, and the rest the same to each."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, src_tokens, src_lengths, prev_output_tokens):
        assert not self.training and prev_output_tokens.shape == src_tokens.shape
        rest = torch.full((*src_tokens.shape, TYPES), (1 - SURE) / (TYPES - 1))
        return rest.scatter(-1, src_tokens.unsqueeze(-1), SURE).log()

    def get_normalized_probs(self, output, log_probs):
        assert log_probs
        return output


def copies(*sentences):
    words = made_dictionary(TYPES)
    rows = [torch.tensor([*(words.nspecial + word for word in sentence), words.eos()]) for sentence in sentences]
    lengths = [len(row) for row in rows]
    return LanguagePairDataset(rows, lengths, words, rows, lengths, words)


def test_figures_are_means_over_target_tokens():
    found = source_use(Copyist(), copies((0, 1), (2, 3), (4, 5)))
    right, wrong = -math.log(SURE), -math.log((1 - SURE) / (TYPES - 1))
    assert found.own == pytest.approx(right)
    # Of three tokens, the end of sentence is right whatever the source.
    assert found.other == pytest.approx((2 * wrong + right) / 3)
    assert found.entropy == pytest.approx(SURE * right + (1 - SURE) * wrong)
    assert found.gain == pytest.approx(2 * (wrong - right) / 3)


def test_one_sentence_has_no_other_source():
    with pytest.raises(InputError, match="fewer than two sentences"):
        source_use(Copyist(), copies((0, 1)))


def test_the_command_prints_a_row_for_each_checkpoint(tmp_path, capsys):
    data = make_data_bin(tmp_path / "bin")
    train(data, tmp_path / "run", *STUDENT, "--max-update=2", "--no-epoch-checkpoints")
    checkpoint = tmp_path / "run" / "checkpoint_last.pt"
    assert main(["source-use", str(data), str(checkpoint), str(checkpoint)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 4 and rows[2] == rows[3] and rows[2].startswith("| run/checkpoint_last.pt | 2.")


def test_wrong_arguments_are_named(tmp_path, capsys):
    assert main(["source-use", str(tmp_path / "none"), "x.pt"]) == 1
    assert "there is no folder" in capsys.readouterr().err
    assert main(["source-use", str(make_data_bin(tmp_path / "bin")), "x.pt"]) == 1
    assert "x.pt does not exist" in capsys.readouterr().err
