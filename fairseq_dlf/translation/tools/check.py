"""Check, with a few short trainings, whether teaching a student is worth its price.

Takes the data-bin and the options of `--task dlf_teaching`, prints whether the student can be differentiated as they
want, what an episode will cost, how smoothly the student depends on Φ, and how far losses move its greedy BLEU.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from fairseq import options as fairseq_options
from fairseq import tasks
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from torch import Tensor

from fairseq_dlf.command_line import run_command
from fairseq_dlf.core.hypergradient.probe import kinks_of
from fairseq_dlf.core.hypergradient.student import Point
from fairseq_dlf.core.teaching.estimators import takes_products
from fairseq_dlf.core.teaching.foresight import Cost, constant_run, cost_of, metasmoothness
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.translation.bleu.type_facts import type_facts
from fairseq_dlf.translation.episodes.checkpoints import translation_objective
from fairseq_dlf.translation.episodes.lesson import TranslationLesson
from fairseq_dlf.translation.episodes.lessons import Lessons

PROGRAM = "dlf-check"
TEACHING = ("--task", "dlf_teaching", "--arch", "dlf_teacher", "--criterion", "dlf_teaching")
CONSTANTS = (0.5, 1.0, 1.5)
SMOOTHINGS = (0.0, 0.1, 0.3)
# Below, a step of the teacher does hardly what its gradient says.
ROUGH = 0.5
ADVICE = "lower --student-lr, shorten --student-steps, set --truncate, or raise --student-adam-eps-root"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(f"{__doc__}\nusage: {PROGRAM} DATA-BIN --student CHECKPOINT [options of --task dlf_teaching]")
        return 0 if words else 2
    return run_command(PROGRAM, lambda: run(words), stopped="stopped")


def run(words: Sequence[str]) -> None:
    """Check what the options of teaching name, and print what is found."""
    parser = fairseq_options.get_training_parser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # hydra's, of every command of fairseq
        cfg = convert_namespace_to_omegaconf(fairseq_options.parse_args_and_arch(parser, [*words, *TEACHING]))
    task = tasks.setup_task(cfg.task)
    task.build_model(cfg.model)
    device = torch.device("cuda" if torch.cuda.is_available() and not cfg.common.cpu else "cpu")
    for line in findings(task.lessons, task, device):
        print(line, flush=True)


def findings(lessons: Lessons, task: Any, device: torch.device) -> Iterator[str]:
    """Yield a line for each thing that is found, as soon as it is.

    Raises:
        StateError, InputError: the student cannot be taught in this way.
    """
    lesson, plan = lessons.validation(device), lessons.plan
    neutral = lessons.form.neutral(len(task.target_dictionary)).to(lesson.start.params)
    if takes_products(lessons.estimator):
        yield "second-order products: the student can be differentiated as the options want"
        first = lesson.step(0)
        kinks = kinks_of(lesson.student, Point(lesson.start.params, neutral, first.batch, first.seed))
        yield f"kinks: {', '.join(kinks) or 'none'}" + (": differences of gradients would be wrong" if kinks else "")
        yield _price(lessons, cost_of(lesson, neutral, plan.curvature))
    else:
        yield "second-order products: the estimator takes none"
    smoothness = metasmoothness(lesson, neutral)
    advice = "" if smoothness >= ROUGH else f": {ADVICE}"
    yield f"smoothness in Φ over {lesson.updates} updates: {smoothness:.2f} (1 is best, 0 is chance){advice}"
    yield f"greedy BLEU on dev after {lesson.updates} updates:"
    found = [lessons.greedy(lesson.student, lesson.start.params).score]
    yield f"  before: {found[0]:.2f}"
    for title, other, coefficients in _trials(lesson, lessons, task.target_dictionary):
        done = constant_run(other, coefficients)
        found.append(lessons.greedy(other.student, done.final.params).score)
        yield f"  {title}: {found[-1]:.2f}, mean loss {float(done.losses.mean()):.3f}"
    of_phi, of_smoothing = found[1 : 1 + len(CONSTANTS)], found[1 + len(CONSTANTS) :]
    yield (
        f"leverage: {max(of_phi) - min(of_phi):.2f} points between constant Φ, "
        f"{max(of_smoothing) - min(of_smoothing):.2f} between shares of smoothing"
    )


def _trials(
    lesson: TranslationLesson, lessons: Lessons, words: Dictionary
) -> Iterator[tuple[str, TranslationLesson, Tensor]]:
    """Yield losses in words, each with its lesson and its constant Φ."""
    neutral = lessons.form.neutral(len(words)).to(lesson.start.params)
    for factor in CONSTANTS:
        yield f"Φ = {factor:g} times neutral", lesson, factor * neutral
    for smoothing in SMOOTHINGS:
        # In the run's own link, so that its rate fits.
        spec = f"bins(number=1,linear={lessons.form.linear},start={smoothing:g})"
        form = FORMS.make(spec).fitted(type_facts(words))
        objective = translation_objective(DynamicLoss(form, words.pad()))
        other = replace(lesson, student=lesson.student.with_objective(objective))
        yield f"Φ with a uniform share of {smoothing:g}", other, form.neutral(len(words)).to(neutral)


def _price(lessons: Lessons, cost: Cost) -> str:
    """Return what an episode will cost by the time of its parts, the measures without their gradient."""
    plan = lessons.plan
    recomputed = plan.trajectory.extra_steps(plan.first, plan.steps)
    forward = plan.steps * cost.update_s + cost.measure_s
    back = (plan.steps - plan.first) * cost.reverse_s + recomputed * cost.update_s + cost.measure_s
    return (
        f"an episode of {plan.steps:,} updates: about {forward:.0f} s forward and {back:.0f} s back (an update "
        f"{cost.update_s:.3f} s, a step back {cost.reverse_s:.3f} s, a measure {cost.measure_s:.1f} s); {lessons.kept}"
    )


if __name__ == "__main__":
    sys.exit(main())
