"""A student of two numbers, its lessons, a school of them, and a teacher that remembers: all in a few lines."""

import math
from contextlib import nullcontext

import torch
from torch import nn

from fairseq_dlf.core.hypergradient.episode import MeasuredCotangent
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.hypergradient.update_rules import SGD
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import LessonStep
from fairseq_dlf.core.teaching.loop.steps import Validation
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader
from fairseq_dlf.core.teaching.teachers.teacher import Teacher

GOAL = torch.tensor([1.0, -0.5])
FEATURES = ("updates", "place")


class Place(nn.Module):
    """Two numbers, which are its output."""

    def __init__(self, dtype):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(2, dtype=dtype))

    def forward(self):
        return self.place


def pulled(forward, coefficients, batch):
    """Each coefficient pulls its number to a target, the harder the greater it is."""
    return (coefficients.sigmoid() * (forward() - batch).square()).sum() + 0.1 * forward().pow(4).sum()


class Nearness:
    """M̃ = exp(−‖ω − goal‖²), in (0, 1]."""

    def __call__(self, params):
        return torch.exp(-(params - GOAL.to(params)).square().sum())

    def value(self, params):
        return float(self(params.detach()))

    def value_and_cotangent(self, params):
        leaf = params.detach().requires_grad_()
        value = self(leaf)
        return MeasuredCotangent(float(value), torch.autograd.grad(value, leaf)[0])


class ToyLesson:
    """A few updates of two numbers; counts how often the student is observed."""

    def __init__(self, seed=1, updates=7, interval=3, dtype=torch.float32, rate=0.2):
        torch.manual_seed(seed)
        self.student, self.rule = Student(Place(dtype), pulled), SGD(momentum=0.5)
        self.updates, self.interval, self.rate = updates, interval, rate
        self.targets = 0.5 * torch.randn(updates, 2, dtype=dtype) + GOAL.to(dtype)
        self.measure = Nearness()
        self.observed = []

    @property
    def start(self):
        return self.rule.initial(self.student.flat_params())

    def step(self, t):
        return LessonStep(self.targets[t], t, self.rate)

    def observe(self, t, params, buffers):
        self.observed.append(t)
        # A student that has diverged is as good as none.
        return params.detach().sigmoid().mean().nan_to_num().reshape(1)


class Remembering(Teacher):
    """Φ_t = base + W Σ_{i ≤ t} s_i."""

    def __init__(self, base, weight):
        super().__init__()
        self.base, self.weight = nn.Parameter(base.clone()), nn.Parameter(weight.clone())

    @classmethod
    def untaught(cls, neutral, features, scale=0.0):
        return cls(neutral, scale * torch.ones(len(neutral), features, dtype=neutral.dtype))

    @classmethod
    def from_tensors(cls, tensors):
        return cls(tensors["base"], tensors["weight"])

    @property
    def coefficients(self):
        return len(self.base)

    @property
    def features(self):
        return self.weight.size(1)

    def start(self):
        return (torch.zeros_like(self.weight[0]),)

    def forward(self, progress, memory=()):
        sums = memory[0] + progress.cumsum(dim=0)
        return self.base + sums @ self.weight.t(), (sums[-1],)

    def bound(self, low, high):
        raise NotImplementedError


class ToySchool:
    """A `School` of toy lessons; `collapsing` names the teacher steps whose lessons diverge."""

    features = FEATURES
    measure_name, value_name = "nearness", "final nearness"

    def __init__(self, collapsing=(), values=None):
        self.collapsing = collapsing
        self.values = values
        self.validated = []

    def lesson(self, step):
        return ToyLesson(seed=step, rate=1e20 if step in self.collapsing else 0.2)

    def validate(self, teacher):
        course = ToyLesson(seed=100)
        guidance = Guidance(course, teacher, len(FEATURES))
        done = unroll(
            course.student, course.rule, guidance.source, course.start, course.updates, observe=guidance.observe
        )
        self.validated.append(done.final.params)
        value = course.measure.value(done.final.params) if self.values is None else next(self.values)
        return Validation(value, lambda folder: (folder / "kept").write_text(f"{value}"))

    def header(self, signature):
        return TeacherHeader("attention", "diagonal", FEATURES, signature, {"goal": math.pi})

    def watch(self, label, lesson):
        return nullcontext()


class ToyFamily:
    """A `Family` of toy students; `collapsing` names (place, window) whose losses are infinite."""

    features = FEATURES
    measure_name, value_name = "nearness", "final nearness"

    def __init__(self, children=1, window=3, updates=12, collapsing=()):
        self.children, self.window, self.updates = children, window, updates
        self.collapsing = collapsing
        self.lessons = {}

    def lesson(self, place):
        lesson = self.lessons[place] = ToyLesson(seed=place + 1, updates=self.updates, interval=self.updates)
        plain = lesson.step

        def step(t):
            more = math.inf if (place, 1 + t // self.window) in self.collapsing else 0.0
            return plain(t)._replace(batch=(plain(t).batch, more), seed=100 * place + t)

        lesson.step = step
        lesson.student.objective = lambda forward, phi, batch: pulled(forward, phi, batch[0]) + batch[1]
        return lesson

    def value(self, lesson, params, buffers):
        return lesson.measure.value(params)

    def keep(self, folder, name, lesson, child):
        (folder / name).write_text(" ".join(map(str, child.params.tolist())))

    def header(self, signature):
        return TeacherHeader("attention", "diagonal", FEATURES, signature)

    def watch(self, label, lesson):
        return nullcontext()
