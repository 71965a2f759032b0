"""Two processes on one episode, in float64, against one with the joined batches."""

import multiprocessing

import pytest
import torch
from torch import distributed

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.reverse import reverse
from fairseq_dlf.core.hypergradient.schedules import Binomial
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import Step, unroll
from fairseq_dlf.core.hypergradient.update_rules import Adam

STEPS, IMAGES, WORKERS = 5, 7, 2
RULE = Adam(epsilon=1e-3, clip_norm=0.1, weight_decay=0.1)


def hypergradient(curvature, rank=0, workers=1):
    """dΦ of an episode in which this worker sees every `workers`-th row of each batch."""
    torch.manual_seed(5)
    module = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double()
    batches, phis = torch.randn(STEPS, IMAGES, 4).double(), torch.rand(STEPS, 3).double()

    def combine(tensor):
        if workers > 1:
            distributed.all_reduce(tensor)
        return tensor

    def objective(forward, phi, rows):
        return (phi * forward(rows).square()).sum() / IMAGES

    student = Student(module, objective, combine=combine)
    trajectory = TrajectoryPlan(Binomial(2)).open(0, STEPS, curvature.reuses_gradients)

    def source(t):
        return Step(phis[t], batches[t][rank::workers], t, 0.1)

    final = unroll(student, RULE, source, RULE.initial(student.flat_params()), STEPS, trajectory=trajectory).final
    return reverse(student, RULE, source, trajectory, curvature, final.params.cos()).coefficients


def work(rank, place, curvature, found):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=WORKERS)
    found.put((rank, hypergradient(curvature, rank, WORKERS).tolist()))
    distributed.destroy_process_group()


@pytest.mark.parametrize(
    "curvature", [Exact(), CentralDifference(), ForwardDifference()], ids=lambda way: type(way).__name__
)
def test_equals_one_process_with_the_joined_batch(curvature, tmp_path):
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    arguments = (tmp_path / "meeting", curvature, found)
    workers = [context.Process(target=work, args=(rank, *arguments)) for rank in range(WORKERS)]
    for worker in workers:
        worker.start()
    results = dict(found.get(timeout=600) for _ in workers)
    for worker in workers:
        worker.join()
    wanted = hypergradient(curvature)
    assert wanted.norm() > 0
    for rank in range(WORKERS):
        assert (torch.tensor(results[rank], dtype=torch.float64) - wanted).norm() <= 1e-6 * wanted.norm()
