"""One thread and one seed for every test."""

import logging

import numpy as np
import pytest
import torch

torch.set_num_threads(1)
# fairseq says on import what else one could install; nothing may follow the closing line of a test run.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)


def pytest_make_parametrize_id(val, argname):
    """Name bytes by their argument: a compressed file holds the time, and workers must agree on the names of tests."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(7)
    np.random.seed(7)
