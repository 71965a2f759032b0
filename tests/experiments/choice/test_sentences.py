"""Parts of dev, and greedy BLEU on the part that no measure saw."""

import pytest

from experiments.choice.sentences import UnseenBleu, dev_parts
from experiments.choice.table import Choice
from experiments.significance import corpus_bleu
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.bleu.decoding import greedy_bleu, module_at


@pytest.mark.parametrize(("unseen", "wanted"), [(0, 14), (5, 5)])
def test_parts_are_disjoint_and_as_large_as_asked(unseen, wanted):
    parts = dev_parts(20, Choice(dev_sentences=6, unseen_sentences=unseen))
    assert [len(part) for part in parts] == [3, 3, wanted]
    together = [number for part in parts for number in part]
    assert len(set(together)) == len(together) and set(together) <= set(range(20))
    assert all(part == sorted(part) for part in parts)


def test_parts_follow_the_seed():
    found = [dev_parts(20, Choice(dev_sentences=6, seed=seed)) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(("sentences", "unseen"), [(6, 0), (9, 4)])
def test_a_dev_set_that_is_too_small_is_refused(sentences, unseen):
    with pytest.raises(InputError, match="of which measures are to see 6 and greedy BLEU .* ask for fewer"):
        dev_parts(sentences, Choice(dev_sentences=6, unseen_sentences=unseen))


def test_bleu_is_that_of_teaching(taught):
    made = taught()
    lesson = made.lessons.lesson(0, 0, made.device)
    found = UnseenBleu(made, [1, 4, 7]).statistics(lesson.student, lesson.start.params)
    assert found.shape == (3, 10)
    model = module_at(lesson.student, lesson.start.params)
    wanted = greedy_bleu(made.task, model, made.lessons.dev, [1, 4, 7]).score
    assert corpus_bleu(found.sum(0)) == pytest.approx(wanted)
