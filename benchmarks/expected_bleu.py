"""Cost of expected BLEU by part, for a thousand candidates."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks import ours, peers
from benchmarks.cases import Case, Size, build_translation, translation_case
from benchmarks.sentences import ShapedTask
from benchmarks.timing import figure, interleaved, markdown, progress
from fairseq_dlf.core.hypergradient.student import Forward, Student
from fairseq_dlf.translation.bleu.candidates import Candidates, find_candidates
from fairseq_dlf.translation.bleu.decoding import WordJoiner, build_generator, evaluating
from fairseq_dlf.translation.bleu.expected import (
    MEASURE_SENTENCES,
    ExpectedBleuSettings,
    expected_bleu,
    expected_bleu_of,
)
from fairseq_dlf.translation.bleu.sampling import sample_translations
from fairseq_dlf.translation.bleu.scores import sentence_bleu
from fairseq_dlf.translation.bleu.scoring import TokenScores
from fairseq_dlf.translation.measures import DevSample, ReweightedBleu

SEED = 5
QUICK_SENTENCES, FULL_SENTENCES = 32, 128
QUICK_REPEATS, FULL_REPEATS = 3, 9
STEP = "plain training step"
BY_FAIRSEQ = "generation by fairseq's sampling"
PLAINLY = "scores with gradient by a plain forward pass"
ARCHS = ("lstm_dlf_1", "transformer_dlf_small")
Batches = Sequence[dict[str, Any]]


def run(quick: bool, repeats: int | None = None) -> dict[str, Any]:
    """Measure each part in seconds for a thousand candidates, and in plain training steps.

    Args:
        repeats: replace those of the quick or the full size.
    """
    size: Size = "quick" if quick else "full"
    repeats = repeats or (QUICK_REPEATS if quick else FULL_REPEATS)
    return {"students": [_student(arch, size, repeats) for arch in ARCHS]}


def _student(arch: str, size: Size, repeats: int) -> dict[str, Any]:
    task, module = build_translation(arch, size)
    case, settings = translation_case(task, module), ExpectedBleuSettings()
    sentences = FULL_SENTENCES if size == "full" else QUICK_SENTENCES
    dev = task.batches(sentences // MEASURE_SENTENCES, SEED, MEASURE_SENTENCES)
    found = [find_candidates(task, module, batch, settings.proposals, SEED) for batch in dev]
    number = sum(int(candidates.present.sum()) for candidates in found)
    runs = _parts(task, case, settings, dev, found)
    seconds = interleaved(runs, repeats)
    rows = [_row(part, seconds, 1000 / number) for part in runs if part != STEP]
    told = ", ".join(f"{r['part']} {r['seconds']:.2f} s" for r in rows)
    progress(f"expected BLEU of {arch}: {number} candidates, {told}")
    return {
        "student": arch,
        "sentences": sentences,
        "candidates": number,
        "step_sentences": task.shape.sentences,
        "step_ms": 1000 * figure(seconds[STEP]).median,
        "rows": rows,
    }


def table(result: dict[str, Any]) -> str:
    """Write one line for each part, and one for the whole, of each student."""
    students = result["students"]
    lines = [
        [student["student"], r["part"], f"{r['seconds']:.2f}", f"{r['steps']:.1f} ± {r['spread']:.1f}", r["n"]]
        for student in students
        for r in student["rows"]
    ]
    steps = f"{STEP}s of {students[0]['step_sentences']} sentences"
    return markdown(["student", "part", "s per 1,000 candidates", steps, "n"], lines)


def _row(part: str, seconds: dict[str, list[float]], scale: float) -> dict[str, Any]:
    steps = figure([scale * mine / step for mine, step in zip(seconds[part], seconds[STEP], strict=True)])
    return {
        "part": part,
        "seconds": scale * figure(seconds[part]).median,
        "steps": steps.median,
        "spread": steps.spread,
        "n": steps.n,
    }


def _parts(
    task: ShapedTask, case: Case, settings: ExpectedBleuSettings, dev: Batches, found: Sequence[Candidates]
) -> dict[str, Callable[[], Any]]:
    student = ours.student(case)
    params = student.flat_params()
    measure = ReweightedBleu(DevSample(task, student, dev, SEED, settings))
    return {
        STEP: partial(peers.train_plainly, case, copy.deepcopy(case.module), 1),
        "generation": partial(_generate, task, case, settings, dev),
        BY_FAIRSEQ: partial(_generate_by_fairseq, task, case, settings, dev),
        "BLEU": partial(_score_by_bleu, task, dev, found),
        "scores with gradient": partial(_score_with_gradient, task, student, params, settings, found),
        PLAINLY: partial(_score_with_gradient, task, student, params, settings, found, plainly=True),
        "whole measure": partial(measure.value_and_cotangent, params),
    }


def _generate(task: ShapedTask, case: Case, settings: ExpectedBleuSettings, dev: Batches) -> None:
    proposals = settings.proposals
    lengths = proposals.number, proposals.shortest, proposals.limit
    for batch in dev:
        with evaluating(case.module), torch.no_grad():
            sample_translations(task, case.module, batch, *lengths, SEED)


def _generate_by_fairseq(task: ShapedTask, case: Case, settings: ExpectedBleuSettings, dev: Batches) -> None:
    for batch in dev:
        with evaluating(case.module), torch.no_grad():
            torch.manual_seed(SEED)
            generator = build_generator(task, case.module, beam=settings.candidates, sampling=True)
            generator.generate([case.module], batch)


def _score_by_bleu(task: ShapedTask, dev: Batches, found: Sequence[Candidates]) -> None:
    words = WordJoiner(task.target_dictionary)
    for batch, candidates in zip(dev, found, strict=True):
        references = [words.reference(target).split() for target in batch["target"]]
        for owner, tokens in zip(candidates.owners[0].tolist(), candidates.targets, strict=True):
            proposal = tokens[tokens != task.target_dictionary.pad()]
            sentence_bleu(words.hypothesis(proposal).split(), references[owner])


def _score_with_gradient(
    task: ShapedTask,
    student: Student,
    params: Tensor,
    settings: ExpectedBleuSettings,
    found: Sequence[Candidates],
    plainly: bool = False,
) -> None:
    leaf, padding = params.detach().requires_grad_(), task.target_dictionary.pad()
    for candidates in found:
        score: Callable[[Forward], Tensor]
        if plainly:
            score = partial(_summed_bleu_plainly, candidates=candidates, settings=settings, padding=padding)
        else:
            of = {"model": student.module, "candidates": candidates, "settings": settings, "padding": padding}
            score = partial(_summed_bleu, **of)
        with evaluating(student.module):
            torch.autograd.grad(student.run(leaf, score), leaf)


def _summed_bleu(
    forward: Forward, model: Any, candidates: Candidates, settings: ExpectedBleuSettings, padding: int
) -> Tensor:
    return expected_bleu(forward, model, candidates, settings, padding).sum()


def _summed_bleu_plainly(
    forward: Forward, candidates: Candidates, settings: ExpectedBleuSettings, padding: int
) -> Tensor:
    """The same sum, with the source of each candidate in a row of its own, and logits at padding too."""
    owners = candidates.owners[0]
    sources = {name: candidates.batch[name][owners] for name in ("src_tokens", "src_lengths")}
    logits = forward(**{**candidates.batch, **sources})[0]
    scored = TokenScores(logits[candidates.targets != padding], candidates.targets, padding)
    return expected_bleu_of(scored, candidates, settings).sum()
