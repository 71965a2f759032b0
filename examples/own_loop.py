"""A loop of one's own around the hypergradient: learns class weights for a tiny network on unbalanced data.

The student is trained on three clouds of points, of which the third is rare; dev is balanced.
Each teacher step trains a fresh student for 60 updates and moves the weights Φ of its loss
by the gradient of the dev likelihood, carried back through all of these updates.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from fairseq_dlf.core import SGD, EpisodePlan, FunctionMeasure, Step, Student, run_episode

CENTRES = torch.tensor([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])
UPDATES, BATCH = 60, 64


def clouds(*counts: int) -> tuple[Tensor, Tensor]:
    """Points, (n, 2), and their classes, (n,)."""
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    return CENTRES[labels] + 0.8 * torch.randn(len(labels), 2), labels


def weighted(forward, phi, batch):  # type: ignore[no-untyped-def]
    """The student's loss: any function of Φ with second derivatives."""
    points, labels = batch
    return (softplus(phi)[labels] * cross_entropy(forward(points), labels, reduction="none")).mean()


def main(teacher_steps: int = 15) -> list[float]:
    """Learn Φ; return the accuracy on test data after each step."""
    torch.manual_seed(0)
    train, dev, test = clouds(400, 400, 20), clouds(100, 100, 100), clouds(1000, 1000, 1000)
    network = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))
    student, rule = Student(network, weighted), SGD(momentum=0.9)
    start = rule.initial(student.flat_params())

    def likelihood(forward):  # type: ignore[no-untyped-def]
        return (-cross_entropy(forward(dev[0]), dev[1])).exp()

    measure = FunctionMeasure(lambda params: student.run(params, likelihood))
    phi = nn.Parameter(torch.full((3,), 0.5413))  # softplus(0.5413) = 1: plain cross-entropy
    optimizer, accuracies = torch.optim.Adam([phi], lr=0.2), []
    for step in range(teacher_steps):
        chosen = torch.randint(len(train[1]), (UPDATES, BATCH))

        def source(t: int, chosen: Tensor = chosen) -> Step:  # equal each time it is called for the same t
            return Step(phi.detach(), (train[0][chosen[t]], train[1][chosen[t]]), seed=t, learning_rate=0.1)

        episode = run_episode(student, rule, source, start, measure, EpisodePlan(UPDATES))
        if episode.hypergradient is None:
            raise SystemExit(episode.collapse)
        phi.grad = -episode.hypergradient.coefficients.sum(0)  # Adam minimises
        optimizer.step()
        right = student.run(episode.final.params, lambda forward: forward(test[0]).argmax(1) == test[1])
        accuracies.append(float(right.float().mean()))
        weights = ", ".join(f"{weight:.2f}" for weight in softplus(phi).tolist())
        print(f"{step:2}  dev {episode.measure_after:.4f}  test accuracy {accuracies[-1]:.2%}  weights {weights}")
    return accuracies


if __name__ == "__main__":
    main()
