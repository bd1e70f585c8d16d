"""What a weighting remembers, in checkpoints, in the guard and where a model is sharded."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.runner.checkpoint import get_state_dict
from torch import nn

from m2h_mm.engine import NonFiniteGuardHook, ShardedModel
from m2h_mm.engine.checkpoints import compare_weights
from m2h_mm.engine.hooks.activation_checkpointing_hook import checkpointed
from m2h_mm.models.weighting import DBMTL, FAMO, PCGrad

TASKS = ('semseg', 'depth')


@pytest.fixture
def model():
    model = nn.Module()
    model.weighting = DBMTL(TASKS)
    return model


def take_step(model, scale=1.0):
    shared = nn.Parameter(torch.ones(3))
    total = shared.sum() * scale
    model.weighting(dict(semseg=total, depth=2 * total + 1), [shared])
    return model.weighting.get_extra_state()


def test_averages_of_gradients_are_in_checkpoints_and_fit_a_model_that_has_none_yet(model):
    before = get_state_dict(model)  # mmengine's, by which checkpoints are written
    averages = take_step(model)
    saved = get_state_dict(model)
    assert averages.shape == (2, 3) and averages.any()
    assert compare_weights(before, saved) == []
    other = nn.Module()
    other.weighting = DBMTL(TASKS)
    other.load_state_dict(saved)
    assert torch.equal(other.weighting.get_extra_state(), averages)
    assert torch.equal(take_step(other), take_step(model))


def test_averages_of_other_parameters_are_refused(model):
    take_step(model)
    with pytest.raises(ValueError, match=r'DBMTL.*\(2, 3\) numbers, the gradients of \(2, 4\)'):
        shared = nn.Parameter(torch.ones(4))
        model.weighting(dict(semseg=shared.sum(), depth=2 * shared.sum()), [shared])


def test_a_withheld_step_leaves_them_as_they_were(model):
    guard, runner = NonFiniteGuardHook(), SimpleNamespace(model=model)
    before = take_step(model).clone()
    guard.before_train_iter(runner, 0, {})
    assert not torch.equal(take_step(model, scale=5.0), before)
    guard._undo(runner, guard._steps)
    assert torch.equal(model.weighting.get_extra_state(), before)
    assert model.weighting.steps == 1


@pytest.mark.parametrize('cls', [PCGrad, FAMO])
def test_a_sharded_model_refuses_what_it_has_not_the_parameters_for(cls):
    model = nn.Module()
    model.weighting = cls(TASKS)
    with pytest.raises(ValueError, match=rf'model.weighting \({cls.__name__}\).*ablation fsdp'):
        ShardedModel(model)


def test_a_checkpointed_module_is_gone_back_through_for_every_task():
    """Its batch normalisation has counted the batch once, and is as it was afterwards."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    module.forward = checkpointed(module)
    out = module(torch.randn(5, 3))
    found = [
        torch.autograd.grad(out[:, index].square().sum(), module[0].weight, retain_graph=True)[0]
        for index in (0, 1)
    ]
    assert all(torch.isfinite(gradient).all() for gradient in found)
    assert module[1].num_batches_tracked == 1 and module[1].momentum == 0.1
