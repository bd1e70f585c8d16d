"""M2H-MX's mixer and Mamba block as interactions; their parts are tested with the layers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from m2h_mm.models.interactions import M2HMXMamba, M2HMXMixer

TASKS = ('semseg', 'depth', 'normals')


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return {task: torch.randn(2, 8, 5, 4) for task in TASKS}


@torch.no_grad()
def test_each_task_mixes_the_others_maps_as_they_were(maps):
    model = M2HMXMixer(8, TASKS)
    mixer = model.mixers['normals']
    assert mixer.contexts == ('semseg', 'depth')
    torch.testing.assert_close(model(maps)['normals'], mixer(maps['normals'], maps))


@torch.no_grad()
def test_there_is_no_path_around_the_mixer(maps):
    model = M2HMXMixer(8, TASKS)
    nn.init.zeros_(model.mixers['depth'].fuse[0].weight)
    assert not model(maps)['depth'].any()


def test_a_single_task_keeps_its_map(maps):
    model = M2HMXMixer(8, ['depth'])
    assert not list(model.parameters())
    assert model(maps)['depth'] is maps['depth']


@torch.no_grad()
def test_tasks_take_their_part_of_what_the_block_makes_of_all(maps):
    model = M2HMXMamba(8, TASKS, state_size=4)
    shared = model.shared(torch.cat([maps[task] for task in TASKS], dim=1))
    heard = model.block(shared, shared.mean((2, 3)))
    expected = maps['depth'] + F.gelu(model.branches['depth'](heard))
    torch.testing.assert_close(model(maps)['depth'], expected)
    nn.init.zeros_(model.branches['depth'][1].weight)
    assert torch.equal(model(maps)['depth'], maps['depth'])


@torch.no_grad()
def test_pixels_hear_what_is_above_and_to_their_left(maps):
    block, x = M2HMXMamba(8, TASKS).block, maps['depth']
    vector, other = torch.zeros(2, 8), x.clone()
    other[:, :, 2, 1] += 1
    heard = (block(x, vector) != block(other, vector)).any(1).flatten(1)
    first = 2 * 4 + 1
    assert not heard[:, :first].any() and heard[:, first:].all()
