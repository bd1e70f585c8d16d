"""Two processes weigh as one with the frames of both. Threads stand in for processes here; a
training by two true ones is in tests/test_tools/test_distributed.py.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from weightings import LEARNING, TASKS

from m2h_mm.models.weighting import base, dynamic_weight_average, gradients

FRAMES = 4
STEPS = 5


class Exchange:
    """What ``all_reduce`` does between two threads; nothing in a third one."""

    def __init__(self):
        self.barrier = threading.Barrier(2, timeout=20)
        self.given = {}

    def __call__(self, data, op='sum'):
        name = threading.current_thread().name
        if not name.startswith('process'):
            return
        self.given[name] = data.clone()
        self.barrier.wait()
        total = sum(self.given[key] for key in sorted(self.given))
        self.barrier.wait()
        data.copy_(total / 2 if op == 'mean' else total)


def train(module, frames):
    """Gradients of some steps, and the weights; each step has other losses."""
    generator = torch.Generator().manual_seed(1)
    slopes = torch.randn(STEPS, FRAMES, len(TASKS), 6, generator=generator).double()
    values = torch.rand(STEPS, FRAMES, len(TASKS), generator=generator).double() + 0.5
    shared, heads = nn.Parameter(torch.zeros(6).double()), nn.Parameter(torch.zeros(3).double())
    module, found = module.double(), []
    for step in range(STEPS):
        shared.grad = heads.grad = None
        each = values[step, frames] + slopes[step, frames] @ shared + heads
        losses = dict(zip(TASKS, each.mean(dim=0).unbind(), strict=True))
        given = ([shared],) if getattr(module, 'shared', ()) else ()
        sum(module(losses, *given).values()).backward()
        if hasattr(module, 'learn_after_step'):
            after = zip(losses.items(), (0.9, 0.7, 1.1), strict=True)
            module.learn_after_step({task: share * loss.detach() for (task, loss), share in after})
        found.append(torch.cat((shared.grad, heads.grad)))
    return torch.stack(found), torch.stack(list(module.weights.values()))


@pytest.mark.parametrize('name', LEARNING)
def test_two_processes_weigh_as_one(name, monkeypatch):
    exchange = Exchange()
    for module in (base, dynamic_weight_average, gradients):
        monkeypatch.setattr(module, 'all_reduce', exchange)
    build = LEARNING[name]
    expected, weights = train(build(TASKS), slice(None))
    with ThreadPoolExecutor(2, thread_name_prefix='process') as pool:
        halves = [slice(0, 2), slice(2, 4)]
        found = list(pool.map(lambda part: train(build(TASKS), part), halves))
    torch.testing.assert_close((found[0][0] + found[1][0]) / 2, expected)
    for _, mine in found:
        torch.testing.assert_close(mine, weights)
