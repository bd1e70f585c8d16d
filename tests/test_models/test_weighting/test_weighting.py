"""How the tasks' losses are balanced."""

import copy
import io
import math

import pytest
import torch

from m2h_mm.models.weighting import DynamicWeightAverage, FixedWeighting, UncertaintyWeighting
from m2h_mm.registry import MODELS

TASKS = ('semseg', 'depth', 'normals')
EVERY = [FixedWeighting, DynamicWeightAverage, UncertaintyWeighting]


def losses(*values, dtype=torch.float32):
    return {
        task: torch.tensor(float(value), dtype=dtype)
        for task, value in zip(TASKS, values, strict=True)
    }


def weights(module):
    return [float(module.weights[task]) for task in TASKS]


def softmax(ratios, temperature):
    exponentials = [math.exp(ratio / temperature) for ratio in ratios]
    return [len(ratios) * value / sum(exponentials) for value in exponentials]


@pytest.mark.parametrize('cls', EVERY)
def test_contract(cls):
    assert MODELS.get(cls.__name__) is cls
    module = cls(tasks=TASKS)
    given = {task: value.requires_grad_() for task, value in losses(3, 2, 1).items()}
    weighted = module(given)
    assert {task: value.item() for task, value in weighted.items()} == dict(
        semseg=3, depth=2, normals=1
    )
    assert tuple(module.weights) == TASKS
    assert all(
        weight.shape == () and not weight.requires_grad for weight in module.weights.values()
    )
    sum(weighted.values()).backward()
    assert all(loss.grad == 1 for loss in given.values())


@pytest.mark.parametrize('cls', EVERY)
def test_half_losses_give_float32(cls):
    module = cls(tasks=TASKS)
    assert all(
        value.dtype == torch.float32
        for value in module(losses(3, 2, 1, dtype=torch.float16)).values()
    )


@pytest.mark.parametrize('cls', EVERY)
def test_some_of_the_tasks(cls):
    module = cls(tasks=TASKS)
    assert {
        task: value.item() for task, value in module(dict(depth=torch.tensor(2.0))).items()
    } == dict(depth=2)


@pytest.mark.parametrize(
    'cls, argument',
    [
        (FixedWeighting, 'weights'),
        (DynamicWeightAverage, 'base_weights'),
        (UncertaintyWeighting, 'base_weights'),
    ],
)
def test_constant_factors(cls, argument):
    module = cls(tasks=TASKS, **{argument: dict(normals=10.0, depth=0.5)})
    assert weights(module) == [1, 0.5, 10]
    assert [value.item() for value in module(losses(3, 2, 1)).values()] == [3, 1, 10]
    with pytest.raises(ValueError, match=r"weights for \['normal'\], but model.tasks are"):
        cls(tasks=TASKS, **{argument: dict(normal=10.0)})
    with pytest.raises(ValueError, match='at least 0'):
        cls(tasks=TASKS, **{argument: dict(normals=-1.0)})


EPOCHS = [
    [(4, 2, 1), (2, 2, 3)],
    [(3, 1, 4), (1, 1, 2)],
    [(1, 2, 2), (1, 2, 2)],
    [(1, 1, 1), (1, 1, 1)],
]


def test_dwa_schedule_by_hand():
    """Means 3 2 2, then 2 1 3, then 1 2 2."""
    module = DynamicWeightAverage(tasks=TASKS, temperature=2.0, interval=2)
    expected = [
        [1, 1, 1],
        [1, 1, 1],
        softmax([2 / 3, 1 / 2, 3 / 2], 2),
        softmax([1 / 2, 2, 2 / 3], 2),
    ]
    for epoch, by_hand in zip(EPOCHS, expected, strict=True):
        for step in epoch:
            weighted = module(losses(*step))
            assert weights(module) == pytest.approx(by_hand)
            assert [value.item() for value in weighted.values()] == pytest.approx(
                [weight * loss for weight, loss in zip(by_hand, step, strict=True)]
            )
    assert sum(weights(module)) == pytest.approx(len(TASKS))


def test_dwa_favours_the_task_that_falls_slowest():
    module = DynamicWeightAverage(tasks=TASKS, temperature=0.5, interval=1)
    for step in [(10, 10, 10), (2, 9, 5), (1, 1, 1)]:
        module(losses(*step))
    semseg, depth, normals = weights(module)
    assert depth > normals > semseg


def test_dwa_does_not_see_the_scale():
    small, large = (DynamicWeightAverage(tasks=TASKS, interval=1) for _ in range(2))
    for step in [(3, 2, 1), (2, 2, 0.5), (1, 1, 1)]:
        small(losses(*step))
        large(losses(step[0] * 100, step[1], step[2] * 7))
    assert weights(small) == pytest.approx(weights(large))


def test_dwa_learns_nothing_outside_training():
    module = DynamicWeightAverage(tasks=TASKS, interval=1)
    before = copy.deepcopy(module.state_dict())
    module.eval()
    for step in [(3, 2, 1), (2, 2, 0.5), (1, 1, 1)]:
        module(losses(*step))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_dwa_works_without_gradients():
    module = DynamicWeightAverage(tasks=TASKS, interval=1)
    with torch.no_grad():
        for step in [(3, 2, 1), (2, 2, 0.5), (1, 1, 1)]:
            module(losses(*step))
    assert weights(module) == pytest.approx(softmax([2 / 3, 1, 1 / 2], 2))


@pytest.mark.parametrize('nothing', [0.0, float('nan'), float('inf'), None])
def test_dwa_skips_unusable_losses(nothing):
    """Depth is without a label in one of two iterations of each epoch: its mean is that of the
    other.
    """
    module = DynamicWeightAverage(tasks=TASKS, interval=2)
    for level in (4, 2, 1):
        given = losses(level, level, level)
        module(given)
        given['depth'] = torch.tensor(nothing) if nothing is not None else None
        module({task: loss for task, loss in given.items() if loss is not None})
    assert module.means[1].tolist() == [2, 2, 2]
    assert weights(module) == pytest.approx([1, 1, 1])


def test_dwa_task_that_is_absent_for_an_epoch():
    module = DynamicWeightAverage(tasks=TASKS, temperature=1.0, interval=1)
    for step in [(4, 4, 4), (2, 0, 4), (1, 1, 4), (1, 1, 1)]:
        module(losses(*step))
    # the third epoch is compared with the first; the last is still running
    assert weights(module) == pytest.approx(softmax([1 / 2, 1 / 4, 1], 1))
    fresh = DynamicWeightAverage(tasks=TASKS, temperature=1.0, interval=1)
    for step in [(4, 0, 4), (2, 0, 4), (1, 1, 1)]:
        fresh(losses(*step))
    assert weights(fresh) == pytest.approx(softmax([1 / 2, 1, 1], 1))


@pytest.mark.parametrize('stop', range(1, 8))
def test_dwa_continues_exactly_after_resuming(stop):
    steps = [step for epoch in EPOCHS for step in epoch]
    straight = DynamicWeightAverage(tasks=TASKS, interval=2)
    history = [[value.item() for value in straight(losses(*step)).values()] for step in steps]

    first = DynamicWeightAverage(tasks=TASKS, interval=2)
    for step in steps[:stop]:
        first(losses(*step))
    checkpoint = io.BytesIO()
    torch.save(first.state_dict(), checkpoint)
    checkpoint.seek(0)
    second = DynamicWeightAverage(tasks=TASKS, interval=2)
    second.load_state_dict(torch.load(checkpoint, weights_only=True))
    assert weights(second) == weights(first)
    assert [
        [value.item() for value in second(losses(*step)).values()] for step in steps[stop:]
    ] == history[stop:]


def test_dwa_adds_up_over_processes(monkeypatch):
    """Two processes, one of which never sees a depth label, agree with one that sees all."""

    def run(*shards):
        modules = [DynamicWeightAverage(tasks=TASKS, interval=2) for _ in shards]
        for index in range(len(shards[0])):
            total = sum(module.sums for module in modules)
            monkeypatch.setattr(
                'm2h_mm.models.weighting.dynamic_weight_average.all_reduce',
                lambda data, total=total: data.copy_(total),
            )
            for module, shard in zip(modules, shards, strict=True):
                module(losses(*shard[index]))
        return [weights(module) for module in modules]

    one = run([(1, 4, 2), (3, 4, 2), (1, 2, 1), (1, 2, 2), (1, 1, 1)])
    two = run(
        [(1, 4, 1), (2, 4, 2), (1, 2, 1), (1, 2, 1), (1, 1, 1)],
        [(1, 0, 3), (4, 0, 2), (1, 0, 2), (1, 0, 2)] + [(1, 0, 1)],
    )
    assert two[0] == two[1] == pytest.approx(one[0])


def test_dwa_old_graph_survives_the_change_of_weights():
    module = DynamicWeightAverage(tasks=TASKS, interval=1)
    parameter = torch.ones((), requires_grad=True)
    total = 0
    for level in (3, 2, 1, 1):
        weighted = module(
            {task: parameter * level * scale for scale, task in enumerate(TASKS, start=1)}
        )
        total = total + sum(weighted.values())
    total.backward()
    assert parameter.grad == pytest.approx(6 * 7)  # equal ratios: all weights are 1


@pytest.mark.parametrize('arguments', [dict(temperature=0), dict(interval=0)])
def test_dwa_wrong_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=f'DynamicWeightAverage.{next(iter(arguments))}'):
        DynamicWeightAverage(tasks=TASKS, **arguments)


def test_uncertainty_formula():
    module = UncertaintyWeighting(tasks=TASKS)
    with torch.no_grad():
        module.log_variances.copy_(torch.tensor([0.0, 1.0, -2.0]))
    weighted = module(losses(3, 2, 1))
    assert [value.item() for value in weighted.values()] == pytest.approx(
        [3, 2 * math.exp(-1) + 0.5, math.exp(2) - 1]
    )
    assert weights(module) == pytest.approx([1, math.exp(-1), math.exp(2)])


def test_uncertainty_is_learned_to_twice_the_loss():
    """exp(-s) L + s / 2 is smallest at s = ln 2L."""
    module = UncertaintyWeighting(tasks=TASKS)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        sum(module(losses(3, 0.5, 1)).values()).backward()
        optimizer.step()
    assert module.log_variances.detach().exp().tolist() == pytest.approx([6, 1, 2], rel=1e-2)


def test_uncertainty_of_an_unlabelled_task_rests():
    module = UncertaintyWeighting(tasks=TASKS)
    sum(module(losses(3, 0, 1)).values()).backward()
    assert module.log_variances.grad[1] == 0
    assert module.log_variances.grad[0] != 0


def test_uncertainty_state_round_trip():
    module, other = UncertaintyWeighting(tasks=TASKS), UncertaintyWeighting(tasks=TASKS)
    with torch.no_grad():
        module.log_variances.add_(0.7)
    other.load_state_dict(module.state_dict())
    assert weights(other) == weights(module)
