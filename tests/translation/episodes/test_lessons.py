"""Lessons: which student, batches, seeds, rates and measure an episode has, and what it sees of its student."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.hypergradient.graph import graph_bytes
from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.schedules import Checkpoints
from fairseq_dlf.core.hypergradient.student import Point
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.core.teaching.estimators import Reverse
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, StaticTeacher
from fairseq_dlf.translation.bleu.decoding import fixed_sample, module_at
from fairseq_dlf.translation.bleu.scores import CorpusBleu
from fairseq_dlf.translation.episodes import lessons as lessons_module
from fairseq_dlf.translation.episodes.rates import student_rates
from tests.translation.made_lessons import CPU, Checkpoint, bleu_of_params, made_lessons

STEPS = 6


def ids(batch) -> list[int]:
    return sorted(batch["id"].tolist())


# What each update depends on -----------------------------------------------------


def test_each_update_has_its_batch_seed_and_rate(monkeypatch):
    made = made_lessons(monkeypatch, student_lr_scheduler="cosine")
    lesson = made.lessons.lesson(4, 1, CPU)
    episode = mixed_seed(7, 0, 4, 1)
    rates = student_rates("cosine", "", 0.5, STEPS, len(lesson.batches))
    order = lesson.batches.order(STEPS, mixed_seed(episode, 1))
    assert len(set(order)) > 3 and len(set(rates)) == STEPS
    for t in range(STEPS):
        step = lesson.step(t)
        assert ids(step.batch) == ids(lesson.batches[order[t]])
        assert step.seed == mixed_seed(episode, 2, t)
        assert step.learning_rate == rates[t]
        again = lesson.step(t)
        assert ids(again.batch) == ids(step.batch) and again[1:] == step[1:]


def test_schedules_by_epoch_know_how_long_one_is(monkeypatch):
    options = "force_anneal=1,lr_shrink=0.5"
    made = made_lessons(monkeypatch, student_lr_scheduler="fixed", student_lr_options=options)
    lesson = made.lessons.lesson(0, 0, CPU)
    length = len(lesson.batches)
    assert 1 < length < STEPS
    assert [lesson.step(t).learning_rate for t in (0, length - 1, length)] == [0.25, 0.25, 0.125]


@pytest.mark.parametrize("other", [(5, 1), (4, 0)], ids=["update", "turn"])
def test_updates_and_turns_have_lessons_of_their_own(monkeypatch, other):
    lessons = made_lessons(monkeypatch).lessons
    first, same, second = (lessons.lesson(*number, CPU) for number in ((4, 1), (4, 1), other))
    assert (first.order, first.seeds, first.measure.dev.seed) == (same.order, same.seeds, same.measure.dev.seed)
    assert first.order != second.order and not set(first.seeds) & set(second.seeds)
    assert first.measure.dev.seed != second.measure.dev.seed


def test_the_seed_of_the_run_counts(monkeypatch):
    first, second = (made_lessons(monkeypatch, seed=seed).lessons.lesson(0, 0, CPU) for seed in (1, 2))
    assert not set(first.seeds) & set(second.seeds)


def test_workers_that_share_an_episode_differ_in_dropout_alone(monkeypatch):
    first, second = (
        made_lessons(monkeypatch, Workers(rank, 2, shared=True)).lessons.lesson(0, 0, CPU) for rank in (0, 1)
    )
    assert first.order == second.order and first.measure.dev.seed == second.measure.dev.seed
    assert not set(first.seeds) & set(second.seeds)
    whole = made_lessons(monkeypatch).lessons.lesson(0, 0, CPU)
    assert first.seeds == whole.seeds
    for t in range(STEPS):
        assert sorted({*ids(first.step(t).batch), *ids(second.step(t).batch)}) == ids(whole.step(t).batch)
    assert len(first.measure.dev.batches) + len(second.measure.dev.batches) == len(whole.measure.dev.batches) or (
        len(whole.measure.dev.batches) == 1
    )


def test_dropout_is_that_of_the_options_and_on(monkeypatch):
    lesson = made_lessons(monkeypatch, student_dropout=0.4).lessons.lesson(0, 0, CPU)
    step = lesson.step(0)
    phi = torch.ones(12)
    losses = {float(lesson.student.loss(Point(lesson.start.params, phi, step.batch, seed))) for seed in (1, 2)}
    assert len(losses) == 2
    assert lesson.student.module.encoder.dropout_in_module.p == 0.4


# Starts --------------------------------------------------------------------------


def test_warm_lessons_start_from_the_checkpoint(monkeypatch):
    lessons = made_lessons(monkeypatch).lessons
    first = lessons.lesson(0, 0, CPU)
    module_at(first.student, torch.zeros_like(first.start.params))
    second = lessons.lesson(1, 0, CPU)
    assert torch.equal(first.start.params, second.start.params) and first.start.params.norm() > 0


def test_lessons_go_on_where_they_are_told_to_but_validations_do_not(monkeypatch):
    lessons = made_lessons(monkeypatch, student_start="continue").lessons
    first = lessons.lesson(0, 0, CPU)
    after = first.start.params + 1
    assert torch.equal(lessons.lesson(1, 0, CPU, after).start.params, after)
    assert torch.equal(lessons.validation(CPU).start.params, first.start.params)


def test_fresh_lessons_have_new_weights_of_their_seed_and_read_no_file(monkeypatch):
    lessons = made_lessons(monkeypatch, student_start="fresh").lessons
    read = Checkpoint.read
    starts = [lessons.lesson(update, 0, CPU).start.params for update in (0, 0, 1)]
    validations = [lessons.validation(CPU).start.params for _ in range(2)]
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])
    assert torch.equal(*validations) and not torch.equal(validations[0], starts[0])
    warm = made_lessons(monkeypatch).lessons.lesson(0, 0, CPU).start.params
    assert not torch.equal(warm, starts[0])
    assert Checkpoint.read == read + 1


def test_validations_are_the_same_whatever_was_taught(monkeypatch):
    lessons = made_lessons(monkeypatch).lessons
    first = lessons.validation(CPU)
    lessons.lesson(3, 0, CPU)
    second = lessons.validation(CPU)
    assert (first.order, first.seeds) == (second.order, second.seeds)
    assert first.seeds[0] == mixed_seed(0, 2, 0)


# The measure and BLEU on dev ------------------------------------------------------


def test_the_measure_is_of_dev_sentences_drawn_for_the_lesson(monkeypatch):
    made = made_lessons(monkeypatch)
    lesson = made.lessons.lesson(0, 0, CPU)
    seed = mixed_seed(mixed_seed(7, 0, 0, 0), 3)
    wanted = fixed_sample(made.data["valid"], 3, seed)
    assert [each for batch in lesson.measure.dev.batches for each in ids(batch)] == sorted(wanted)
    assert lesson.measure.dev.seed == seed
    target = lesson.measure.dev.batches[0]["target"][0]
    own = made.data["valid"][int(lesson.measure.dev.batches[0]["id"][0])]["target"]
    assert torch.equal(target[: len(own)], own)


def test_other_measures_are_of_the_sentences_that_they_are_given(monkeypatch):
    made = made_lessons(monkeypatch, measure="sampled_bleu", candidates=3)
    lessons, indices = made.lessons, [0, 2, 3]
    found = lessons.measure_on("sharpened_likelihood(sharpness=2)", indices, CPU, 5)
    assert found.sharpness == 2 and sorted(i for batch in found.dev.batches for i in ids(batch)) == indices
    assert lessons.measure_on("sampled_bleu", indices, CPU, 5).dev.seed == found.dev.seed == mixed_seed(5, 3)
    assert lessons.dev is made.data["valid"]
    assert lessons.signature_of("sampled_bleu") == {"measure": "sampled_bleu", "candidates": 3}
    assert lessons.signature["measure"] == lessons.signature_of("sampled_bleu")


def test_the_measure_is_taken_in_full_precision(monkeypatch):
    lesson = made_lessons(monkeypatch, curvature="central").lessons.lesson(0, 0, CPU)
    assert lesson.measure.dev.student.forward_context is twice_differentiable
    assert lesson.student.forward_context is not twice_differentiable


def test_greedy_bleu_decodes_the_parameters_that_it_is_given(monkeypatch):
    made, decoded = made_lessons(monkeypatch), []

    def greedy(task, model, dataset, indices):
        decoded.append((float(sum(p.detach().sum() for p in model.parameters())), dataset, indices))
        return CorpusBleu(1.0, "")

    monkeypatch.setattr(lessons_module, "greedy_bleu", greedy)
    lesson = made.lessons.lesson(0, 0, CPU)
    ones = torch.ones_like(lesson.start.params)
    made.lessons.greedy(lesson.student, ones)
    module_at(lesson.student, 2 * ones)
    made.lessons.greedy(lesson.student, 3 * ones)
    assert [round(total / len(ones), 4) for total, _, _ in decoded] == [1.0, 3.0]
    assert decoded[0][1] is made.data["valid"]
    assert decoded[0][2] == fixed_sample(made.data["valid"], 2, 7)


# What is seen of the student ------------------------------------------------------


def test_the_warm_student_is_decoded_once_only(monkeypatch):
    asked = bleu_of_params(monkeypatch)
    made = made_lessons(monkeypatch)
    seen = []
    for number in range(3):
        lesson = made.lessons.lesson(number, 0, CPU) if number < 2 else made.lessons.validation(CPU)
        seen.append(lesson.observe(0, lesson.start.params, {}))
    assert asked == [made.data["train"], made.data["valid"]]
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])
    assert seen[0].shape == (2,) and seen[0][0] != seen[0][1] and (seen[0] > 0).all()


def test_what_is_seen_later_in_a_lesson_is_not_taken_for_the_warm_student(monkeypatch):
    bleu_of_params(monkeypatch)
    lessons = made_lessons(monkeypatch, progress_interval=2).lessons
    lesson = lessons.lesson(0, 0, CPU)
    first = lesson.observe(0, lesson.start.params, {})
    later = lesson.observe(2, lesson.start.params + 1, {})
    other = lessons.lesson(1, 0, CPU)
    assert torch.equal(other.observe(0, other.start.params, {}), first)
    assert not torch.equal(first, later)


@pytest.mark.parametrize("start", ["fresh", "continue"])
def test_other_students_are_decoded_each(monkeypatch, start):
    asked = bleu_of_params(monkeypatch)
    lessons = made_lessons(monkeypatch, student_start=start).lessons
    size = lessons.lesson(0, 0, CPU).start.params
    seen = []
    for number in range(2):
        lesson = lessons.lesson(number, 0, CPU, size + number + 1)
        seen.append(lesson.observe(0, lesson.start.params, {}))
    assert len(asked) == 4 and not torch.equal(*seen)


def guided(monkeypatch, **given):
    """A lesson with a teacher that listens, the Φ_t of both passes, and the estimate."""
    bleu_of_params(monkeypatch)
    lessons = made_lessons(monkeypatch, student_dropout=0.0, **given).lessons
    lesson = lessons.lesson(0, 0, CPU)
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        teacher = AttentionTeacher(1 + 0.5 * torch.rand(12, 3), 3 * torch.randn(3, 3))
    guidance, drawn = Guidance(lesson, teacher, 3), []
    plain = guidance.source

    def source(t):
        drawn.append((t, plain(t).coefficients.clone()))
        return plain(t)

    guidance.source = source
    found = lessons.estimator(lesson, guidance, teacher.along)
    return lesson, guidance, teacher, drawn, found


def test_bleu_is_measured_at_the_start_only_by_default(monkeypatch):
    lesson, guidance, *_ = guided(monkeypatch)
    assert lesson.interval == lesson.updates == STEPS
    assert torch.equal(guidance.progress[:, 0], torch.arange(STEPS) / STEPS)
    assert len({tuple(row) for row in guidance.progress[:, 1:].tolist()}) == 1


def test_bleu_is_measured_again_every_few_updates_and_replayed(monkeypatch):
    lesson, guidance, teacher, drawn, found = guided(monkeypatch, progress_interval=2)
    rows = [tuple(row) for row in guidance.progress[:, 1:].tolist()]
    assert [rows[t] == rows[t + 1] for t in range(STEPS - 1)] == [True, False, True, False, True]
    forward, backward = dict(drawn[:STEPS]), drawn[STEPS:]
    assert found.collapse is None and [t for t, _ in backward][-1] == 0 and len(backward) >= STEPS
    along = teacher.along(guidance.progress).detach()
    for t, phi in [*forward.items(), *backward]:
        assert torch.equal(phi, forward[t])
        torch.testing.assert_close(phi, along[t])
    assert not torch.allclose(forward[0], forward[2])


# Several students ---------------------------------------------------------------------

SEVERAL = "student.pt,longer_student.pt,fresh:student.pt"


def test_each_member_has_lessons_of_its_own_student(monkeypatch):
    read = Checkpoint.read
    lessons = made_lessons(monkeypatch, student=SEVERAL, update_freq=[3]).lessons
    assert Checkpoint.read == read + 3
    first, second, third = (lessons.lesson(0, turn, CPU, member=turn) for turn in range(3))
    alone = made_lessons(monkeypatch).lessons
    assert torch.equal(first.start.params, alone.lesson(0, 0, CPU).start.params)
    assert len({float(each.start.params.sum()) for each in (first, second, third)}) == 3
    assert len({id(each.student.module) for each in (first, second, third)}) == 3
    assert second.measure.dev.student.module is second.student.module
    # Batches are those of the turn, whoever is taught.
    assert second.seeds == alone.lesson(0, 1, CPU).seeds


def test_members_are_validated_on_lessons_of_their_own(monkeypatch):
    lessons = made_lessons(monkeypatch, student="fresh:student.pt,fresh:student.pt").lessons
    first, second = (lessons.validation(CPU, member) for member in range(2))
    assert not torch.equal(first.start.params, second.start.params) and not set(first.seeds) & set(second.seeds)
    alone = made_lessons(monkeypatch, student_start="fresh").lessons.validation(CPU)
    assert first.seeds == alone.seeds and torch.equal(first.start.params, alone.start.params)


def test_each_warm_member_is_decoded_once(monkeypatch):
    asked = bleu_of_params(monkeypatch)
    lessons = made_lessons(monkeypatch, student="student.pt,longer_student.pt").lessons
    seen = []
    for turn in range(4):
        lesson = lessons.lesson(0, turn, CPU, member=turn % 2)
        seen.append(lesson.observe(0, lesson.start.params, {}))
    assert len(asked) == 4
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3]) and not torch.equal(seen[0], seen[1])


def test_each_member_is_tried_and_guarded_before_its_first_lesson(monkeypatch):
    lessons = made_lessons(monkeypatch, student="student.pt,longer_student.pt", curvature="central").lessons
    probed, watched = [], []
    for member, guard in enumerate(lessons._guards):
        monkeypatch.setattr(guard, "probe", lambda student, point, member=member: probed.append((member, student)))
        monkeypatch.setattr(guard, "watch", lambda lesson, guidance, member=member: watched.append(member))
    for member in (1, 0, 1):
        lesson = lessons.lesson(0, 0, CPU, member=member)
        lessons.check(lesson, None, member)
    assert [member for member, _ in probed] == [1, 0] and watched == [1, 0, 1]
    assert [student.module for _, student in probed] == [lessons.members[member].student.module for member in (1, 0)]


def test_all_members_are_signed(monkeypatch):
    one, other, several = (
        Signature.of("dlf", made_lessons(monkeypatch, student=student).lessons.signature)
        for student in ("student.pt", "longer_student.pt", SEVERAL)
    )
    digests = [one.get("student"), other.get("student"), one.get("student")]
    assert several.get("student").split(",") == digests and digests[0] != digests[1]
    assert (one.get("start"), several.get("start")) == ("warm", "warm,warm,fresh")
    assert several.without("student", "start") == one.without("student", "start")


# The plan ---------------------------------------------------------------------------


def test_the_plan_is_what_the_options_ask_for(monkeypatch):
    made = made_lessons(
        monkeypatch,
        truncate=4,
        clip_cotangent=0.5,
        collapse_share=0.25,
        trajectory="checkpoints",
        checkpoint_every=3,
    )
    plan = made.lessons.plan
    assert (plan.steps, plan.truncation, plan.cotangent_clip, plan.collapse_share) == (6, 4, 0.5, 0.25)
    assert plan.trajectory.schedule == Checkpoints(3) and isinstance(plan, EpisodePlan)
    assert isinstance(made.lessons.estimator, Reverse) and made.lessons.estimator.plan is plan


def taught(monkeypatch, **given):
    """The gradient of θ by the first lesson of these options, and the number of graphs that it kept."""
    lessons = made_lessons(monkeypatch, progress_interval=0, **given).lessons
    lesson, teacher = lessons.lesson(0, 0, CPU), StaticTeacher(1 + torch.arange(12) / 12)
    found = lessons.estimator(lesson, Guidance(lesson, teacher, 3), teacher.along)
    assert found.collapse is None
    (gradient,) = torch.autograd.grad(found.loss, list(teacher.parameters()))
    return gradient, lessons.plan.trajectory.graphs


def test_memory_that_states_leave_holds_graphs_and_changes_nothing(monkeypatch, caplog):
    bleu_of_params(monkeypatch)
    size = graph_size(monkeypatch, caplog)
    states = made_lessons(monkeypatch).lessons._record_bytes * STEPS
    memories = (None, f"{states + 2 * size}", "100MB")
    found = [taught(monkeypatch, trajectory_memory=memory, keep_graphs=memory is not None) for memory in memories]
    assert [graphs for _, graphs in found] == [0, 2, STEPS]
    (wanted, _), (some, _), (every, _) = found
    assert wanted.norm() > 0 and torch.equal(some, wanted) and torch.equal(every, wanted)


def graph_size(monkeypatch, caplog) -> int:
    """The size of one graph, as a log tells it."""
    made = made_lessons(monkeypatch, trajectory_memory="100MB", keep_graphs=True)
    with caplog.at_level("INFO"):
        lesson = made.lessons.lesson(0, 0, CPU)
    assert "the graph of a step with the largest batch takes" in caplog.text
    assert f"the graphs of the last {STEPS} steps are kept as well (device)" in caplog.text
    phi = made.lessons.loss.start(12)
    points = [Point(lesson.start.params, phi, lesson.batches[number], 0) for number in lesson.batches.largest()]
    found = made.lessons._graph_bytes
    assert found == max(graph_bytes(lesson.student, point, with_gradient=False) for point in points) > 0
    return found


def test_the_student_minimises_the_loss_of_the_options(monkeypatch):
    losses = []
    for given in ({}, {"ce_share": 0.5}, {"ce_share": 0.5, "label_smoothing": 0.1}):
        lesson = made_lessons(monkeypatch, **given).lessons.lesson(0, 0, CPU)
        phi, batch = torch.full((12,), 0.5), lesson.step(0).batch
        losses.append(float(lesson.student.loss(Point(lesson.start.params, phi, batch, 1))))
    assert len(set(losses)) == 3


def test_graphs_for_an_estimator_that_takes_no_products_are_refused(monkeypatch):
    given = {"trajectory_memory": "100MB", "keep_graphs": True, "estimator": "forward_differences"}
    with pytest.raises(InputError, match="--keep-graphs .* would be ignored, .*forward_differences takes no products"):
        made_lessons(monkeypatch, **given)
