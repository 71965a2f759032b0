"""The public names of the core."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from fairseq_dlf import core

NAMES = [
    "Adam",
    "Adaptation",
    "AttentionTeacher",
    "Binomial",
    "Bins",
    "CentralDifference",
    "Checkpoints",
    "Child",
    "CoefficientController",
    "ControllerTeacher",
    "Course",
    "Curvature",
    "Diagonal",
    "DynamicLoss",
    "ESTIMATORS",
    "EpisodePlan",
    "EpisodeResult",
    "Estimate",
    "Estimator",
    "Everything",
    "Exact",
    "FORMS",
    "Family",
    "Form",
    "ForwardDifference",
    "ForwardDifferences",
    "FunctionMeasure",
    "Guidance",
    "Hypergradient",
    "InputError",
    "LSTMTeacher",
    "Lesson",
    "LessonStep",
    "LogProbs",
    "Losses",
    "Matrix",
    "Measure",
    "MeasuredCotangent",
    "Memory",
    "OnDevice",
    "OnDisk",
    "OnHost",
    "OnlineAdaptation",
    "Point",
    "Reinforce",
    "Reverse",
    "SGD",
    "Schedule",
    "ScheduleTeacher",
    "School",
    "Signature",
    "Smoothed",
    "SparseSmoothed",
    "StaticTeacher",
    "Step",
    "SteppingTeacher",
    "StochasticTeacher",
    "Storage",
    "Student",
    "StudentState",
    "TEACHERS",
    "Teacher",
    "TeacherFile",
    "TeacherHeader",
    "Teaching",
    "TeachingPlan",
    "TrajectoryPlan",
    "TwoUnrolls",
    "TypeFacts",
    "Unroll",
    "UpdateRule",
    "UserError",
    "Validation",
    "Watch",
    "Window",
    "estimate",
    "expected_accuracy",
    "expected_score",
    "log_odds",
    "log_probs",
    "others_mean",
    "read_teacher",
    "require_second_derivatives",
    "reverse",
    "run_episode",
    "twice_differentiable",
    "unroll",
    "untaught_teacher",
    "write_teacher",
]


def test_the_public_names_are_these():
    assert core.__all__ == NAMES
    assert set(NAMES) <= set(dir(core))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_what_its_module_has(name):
    module = importlib.import_module(f"fairseq_dlf.core.{core._HOMES[name]}")
    assert getattr(core, name) is getattr(module, name)


def test_another_name_is_none_of_the_core():
    with pytest.raises(AttributeError, match="has no attribute 'Pupil'"):
        _ = core.Pupil


def test_type_checkers_see_the_same_names_in_the_same_modules():
    tree = ast.parse(Path(core.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"fairseq_dlf.core.{module}" for name, module in core._HOMES.items()}


def test_the_core_loads_torch_only_where_it_is_needed():
    code = (
        "import sys, fairseq_dlf.core, fairseq_dlf.core.support.errors; assert 'torch' not in sys.modules;"
        "from fairseq_dlf.core import Student; assert 'torch' in sys.modules and 'fairseq' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(core.__file__).parents[2], check=True)
