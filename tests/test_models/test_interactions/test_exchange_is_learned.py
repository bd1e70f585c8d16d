"""A task that needs another's map learns to get it, through every interaction."""

import pytest
import torch

from m2h_mm.models import interactions
from m2h_mm.models.building import build_part

TASKS = ('listener', 'speaker')
CHANNELS, NUM, STEPS = 8, 32, 35
EXCHANGING = [
    name
    for name in interactions.__all__
    if not getattr(getattr(interactions, name), 'independent', False)
]


def random_maps():
    """They differ from image to image, little within one, and have a mean for each task."""
    maps = {}
    for sign, task in zip((-1, 1), TASKS, strict=True):
        of_image = sign + torch.randn(NUM, CHANNELS, 1, 1)
        maps[task] = of_image + 0.1 * torch.randn(NUM, CHANNELS, 2, 2)
    return maps


@pytest.mark.parametrize('name', EXCHANGING)
def test_a_listener_learns_what_only_the_speaker_knows(name):
    """What is read from the listener's map is to be the speaker's first channel, of variance 1: the
    error of a listener who hears nothing.
    """
    torch.manual_seed(0)
    model = build_part('interaction', dict(type=name), 'a test', channels=CHANNELS, tasks=TASKS)
    readout = torch.nn.Conv2d(CHANNELS, 1, 1)
    optimizer = torch.optim.Adam([*model.parameters(), *readout.parameters()], lr=0.03)
    errors = []
    for _ in range(STEPS):
        maps = random_maps()
        error = (readout(model(maps)['listener']) - maps['speaker'][:, :1]).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert sum(errors[-5:]) / 5 < 0.75
