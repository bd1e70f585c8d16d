"""Weights that need nothing but the losses: random ones, and those of the geometric mean."""

import math

import pytest
import torch

from m2h_mm.models.weighting import GeometricMeanWeighting, RandomLossWeighting

TASKS = ('semseg', 'depth', 'normals')


def losses(*values):
    return {
        task: torch.tensor(float(value), requires_grad=True)
        for task, value in zip(TASKS, values, strict=True)
    }


def weights(module):
    return torch.stack(list(module.weights.values()))


def test_random_weights_are_new_each_time_add_up_to_the_tasks_and_average_one():
    module = RandomLossWeighting(TASKS)
    drawn = []
    for _ in range(4000):
        given = losses(3, 2, 1)
        weighted = module(given)
        drawn.append(weights(module))
        by_hand = drawn[-1] * torch.tensor([3, 2, 1])
        assert [value.item() for value in weighted.values()] == pytest.approx(by_hand.tolist())
    drawn = torch.stack(drawn)
    assert torch.allclose(drawn.sum(1), torch.tensor(3.0)) and (drawn > 0).all()
    assert drawn.unique(dim=0).shape[0] == 4000
    # Their deviation is 0.62: four standard errors of the mean.
    assert drawn.mean(0).tolist() == pytest.approx([1, 1, 1], abs=0.04)
    # An independent plain computation: softmax of normal numbers.
    expected = 3 * torch.randn(4000, 3, generator=torch.Generator().manual_seed(1)).softmax(1)
    assert drawn.std(0).mean().item() == pytest.approx(expected.std(0).mean().item(), rel=0.05)


def test_random_weights_come_on_top_of_the_base_weights():
    module, plain = (
        RandomLossWeighting(TASKS, dict(depth=0.0, normals=10.0)),
        RandomLossWeighting(TASKS),
    )
    module(losses(1, 1, 1)), plain(losses(1, 1, 1))
    assert weights(module).tolist() == pytest.approx(
        (weights(plain) * torch.tensor([1, 0, 10])).tolist()
    )


def test_random_weights_go_on_after_resuming_and_differ_by_seed():
    straight, other = RandomLossWeighting(TASKS), RandomLossWeighting(TASKS, seed=1)
    history = [straight(losses(1, 1, 1)) and weights(straight) for _ in range(6)]
    other(losses(1, 1, 1))
    assert not torch.equal(weights(other), history[0])
    first, second = RandomLossWeighting(TASKS), RandomLossWeighting(TASKS)
    for _ in range(3):
        first(losses(1, 1, 1))
    second.load_state_dict(first.state_dict())
    assert torch.equal(weights(second), history[2])
    assert torch.equal(
        torch.stack([second(losses(1, 1, 1)) and weights(second) for _ in range(3)]),
        torch.stack(history[3:]),
    )


def test_random_weights_rest_outside_training():
    module = RandomLossWeighting(TASKS).eval()
    module(losses(1, 1, 1))
    assert weights(module).tolist() == [1, 1, 1]


def test_value_and_gradient_of_the_geometric_mean():
    module, given = GeometricMeanWeighting(TASKS), losses(8, 1, 0.125)
    total = sum(module(given).values())
    plain = losses(8, 1, 0.125)
    mean = 3 * (plain['semseg'] * plain['depth'] * plain['normals']) ** (1 / 3)
    assert total.item() == pytest.approx(mean.item())
    assert total.item() == pytest.approx(3)
    total.backward(), mean.backward()
    for example in (given, plain):
        assert [value.grad.item() for value in example.values()] == pytest.approx([1 / 8, 1, 8])
    assert weights(module).tolist() == pytest.approx([1 / 8, 1, 8])


def test_the_geometric_mean_does_not_see_the_scale():
    module = GeometricMeanWeighting(TASKS)
    one, two = losses(3, 2, 1), losses(300, 2, 1)
    for given in (one, two):
        sum(module(given).values()).backward()
    relative = [
        [given[task].grad.item() * given[task].item() for task in TASKS] for given in (one, two)
    ]
    assert relative[0] == pytest.approx([relative[0][0]] * 3)
    assert relative[1] == pytest.approx([relative[1][0]] * 3)


@pytest.mark.parametrize('nothing', [0.0, math.nan, math.inf, -1.0])
def test_the_geometric_mean_is_of_losses_above_zero(nothing):
    module, given = GeometricMeanWeighting(TASKS), losses(4, nothing, 1)
    weighted = module(given)
    assert weights(module).tolist() == pytest.approx([0.5, 1, 2])
    assert weighted['semseg'].item() == weighted['normals'].item() == pytest.approx(2)
    assert weighted['depth'].item() == pytest.approx(nothing, nan_ok=True)
    assert not module.state_dict()
