"""Teachers along a run: which path is assumed, what is read, and what is refused."""

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader, write_teacher
from fairseq_dlf.core.teaching.teachers import TEACHERS, AttentionTeacher, ScheduleTeacher, StaticTeacher
from fairseq_dlf.translation.reports.taught import POINTS, path_of_progress, read_taught
from tests.translation.reports.made_teachers import TYPES, dictionary_of_words, write


def test_all_of_s_goes_from_0_to_1_together():
    path = path_of_progress()
    assert path.shape == (POINTS, 3)
    assert torch.equal(path[0], torch.zeros(3)) and torch.equal(path[-1], torch.ones(3))
    assert torch.equal(path[:, 0], path[:, 1]) and torch.equal(path[:, 1], path[:, 2])


def test_bleu_may_have_another_path():
    path = path_of_progress((30.0, 40.0))
    torch.testing.assert_close(path[[0, 50, -1]], torch.tensor([[0, 0.3, 0.3], [0.5, 0.35, 0.35], [1, 0.4, 0.4]]))


@pytest.mark.parametrize("bleu", [(-1.0, 5.0), (5.0, 101.0)])
def test_bleu_outside_of_its_range_is_refused(bleu):
    with pytest.raises(InputError, match="BLEU along the run is .* must lie in .0, 100"):
        path_of_progress(bleu)


def test_phi_and_weights_are_those_that_the_teacher_gives(save, vocabulary):
    knots = torch.arange(3.0).repeat(2 * TYPES + 1, 1) + torch.arange(2.0 * TYPES + 1).unsqueeze(1)
    path = save("t", ScheduleTeacher(knots), "smoothed", "r_drop(start=0.5)")
    taught = read_taught(path, "mine", vocabulary, path_of_progress())
    assert taught.label == "mine" and taught.phi.shape == (POINTS, 2 * TYPES) and taught.weights.shape == (POINTS, 1)
    torch.testing.assert_close(taught.phi[[0, 25, 100]], knots[:-1, [0, 0, 2]].t() + torch.tensor([[0], [0.5], [0]]))
    torch.testing.assert_close(taught.weights[[0, -1], 0], knots[-1, [0, 2]])
    torch.testing.assert_close(taught.moves, torch.full((2 * TYPES,), 2.0))
    torch.testing.assert_close(taught.mean, knots[:-1, 1])
    assert not taught.reads_progress and taught.regularisers[0].start == 0.5


def test_attention_follows_the_assumed_bleu(save, vocabulary):
    torch.manual_seed(1)
    path = save("t", AttentionTeacher(torch.rand(TYPES, 2), torch.tensor([[0.0, 0.0, 9.0], [0.0, 0.0, -9.0]])))
    still, moving = (read_taught(path, "t", vocabulary, path_of_progress(bleu)) for bleu in ((50, 50), (0, 100)))
    assert still.reads_progress
    torch.testing.assert_close(still.moves, torch.zeros(TYPES))
    assert moving.moves.abs().max() > 0.1


@pytest.mark.parametrize(
    ("signature", "wanted"),
    [("dlf|teacher:static", 1.0), ("dlf|phi_start:0.5", 0.5), ("dlf|phi_start:many", None), ("", None)],
)
def test_the_signature_tells_the_untaught_phi(save, vocabulary, signature, wanted):
    path = save("t", StaticTeacher(torch.full((TYPES,), 2.0)), signature=signature)
    untaught = read_taught(path, "t", vocabulary, path_of_progress()).untaught
    assert untaught is None if wanted is None else torch.equal(untaught, torch.full((TYPES,), wanted))


# What is refused ------------------------------------------------------------------


def test_no_file_is_refused(tmp_path, vocabulary):
    with pytest.raises(MissingFileError, match="nothing.pt does not exist: pass the checkpoint_best.pt"):
        read_taught(tmp_path / "nothing.pt", "t", vocabulary, path_of_progress())


def test_a_teacher_of_images_is_refused(tmp_path, vocabulary):
    path = tmp_path / "images.safetensors"
    header = TeacherHeader("static", "matrix", ("t", "train_accuracy"), "dlf-images-teach|seed:1", {"data": "mnist"})
    write_teacher(path, StaticTeacher(torch.ones(100)), header)
    with pytest.raises(InputError, match="train_accuracy.*translation has 3.*taught by --task dlf_teaching"):
        read_taught(path, "t", vocabulary, path_of_progress())


def test_another_dictionary_is_refused_but_for_forms_that_fit_any(save, tmp_path):
    from fairseq_dlf.translation.reports.vocabulary import Vocabulary

    diagonal = save("diagonal", StaticTeacher(torch.ones(TYPES)))
    shares = save("shares", StaticTeacher(torch.full((1,), 0.3)), "shares")
    others = [Vocabulary.of(dictionary_of_words(words)) for words in ({"a": 1}, {f"w{n}": 1 for n in range(TYPES - 4)})]
    for other, words in zip(
        others, ("trained on 12 target types, this .* 5", "another target dictionary"), strict=True
    ):
        with pytest.raises(InputError, match=words):
            read_taught(diagonal, "t", other, path_of_progress())
        assert read_taught(shares, "t", other, path_of_progress()).phi[0].tolist() == pytest.approx([0.3])


def test_a_teacher_with_a_memory_is_refused(monkeypatch, tmp_path, vocabulary):
    class Remembering(StaticTeacher):
        def start(self):
            return (torch.zeros(1),)

    monkeypatch.setitem(TEACHERS._entries, "static", Remembering)
    path = write(tmp_path / "t.safetensors", Remembering(torch.ones(TYPES)))
    with pytest.raises(InputError, match="remembers earlier steps: .* pass a teacher without a memory"):
        read_taught(path, "t", vocabulary, path_of_progress())
