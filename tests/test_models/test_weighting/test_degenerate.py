"""What no paper speaks of: tasks without labels, gradients that vanish, agree or cancel each other,
losses that are not finite, negative or tiny, an interruption anywhere.
"""

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from weightings import COMBINING, LEARNING, OF_GRADIENTS, TASKS

from m2h_mm.models.weighting import (
    DBMTL,
    FAMO,
    IMTL,
    STCH,
    AlignedMTL,
    CAGrad,
    FairGrad,
    PCGrad,
    UncertaintyWeighting,
    UPGrad,
)


class Toy:
    """Losses that are linear in shared numbers, and in one of each task's head."""

    def __init__(self, tasks=TASKS, seed=0):
        self.tasks = tasks
        self.slopes = torch.randn(len(tasks), 6, generator=torch.Generator().manual_seed(seed))
        self.values = torch.tensor([2.0, 0.5, 1.0])[: len(tasks)]
        self.shared = nn.Parameter(torch.zeros(6))
        self.heads = nn.Parameter(torch.zeros(len(tasks)))

    def step(self, module, skip=(), scale=None, learn=True):
        """Gradients of the shared numbers and of the heads; ``scale`` of each loss."""
        self.shared.grad = self.heads.grad = None
        module.zero_grad()
        losses = (self.values + self.slopes @ self.shared + self.heads).unbind()
        factors = [1.0] * len(losses) if scale is None else scale
        losses = {
            task: loss * factor
            for task, loss, factor in zip(self.tasks, losses, factors, strict=True)
            if task not in skip
        }
        given = ([self.shared],) if getattr(module, 'shared', ()) else ()
        sum(module(losses, *given).values()).backward()
        if learn and isinstance(module, FAMO):
            module.learn_after_step({task: 0.9 * loss.detach() for task, loss in losses.items()})
        return self.shared.grad, self.heads.grad


def weights(module):
    return torch.stack(list(module.weights.values()))


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture(params=LEARNING)
def build(request):
    return LEARNING[request.param]


@pytest.fixture(params=OF_GRADIENTS)
def build_of_gradients(request):
    return OF_GRADIENTS[request.param]


@pytest.fixture(params=COMBINING)
def build_combining(request):
    return COMBINING[request.param]


# ---- one rule for all: who says nothing is left out, and keeps what it had
@pytest.mark.parametrize('nothing', [0.0, math.nan, math.inf, None])
def test_a_task_that_says_nothing_is_left_out_and_spoils_nothing(build, nothing):
    """The others move as if it were not there, the state stays finite, and it comes back."""
    module, without = build(TASKS), build(TASKS)
    toy, other = Toy(), Toy()
    for _ in range(2):
        toy.step(module), other.step(without)
    for _ in range(3):
        if nothing is None:
            shared, _ = toy.step(module, skip=('depth',))
        else:
            shared, _ = toy.step(module, scale=[1.0, nothing, 1.0])
        expected, _ = other.step(without, skip=('depth',))
        if nothing in (0.0, None):
            torch.testing.assert_close(shared, expected, rtol=1e-5, atol=1e-6)
    alike = {name: (state(module)[name], state(without)[name]) for name in state(module)}
    for name, (value, wanted) in alike.items():
        assert torch.isfinite(value.double()).all(), name
        if name != 'scale':
            torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-6)
    shared, heads = toy.step(module)
    assert torch.isfinite(shared).all() and (heads != 0).all() and (shared != 0).any()
    assert torch.isfinite(weights(module)).all()


@pytest.mark.parametrize(('nothing', 'steps'), [(0.0, 6), (math.nan, 1)])
def test_a_task_that_is_absent_at_first(build, nothing, steps):
    module, toy = build(TASKS), Toy()
    for _ in range(steps):
        toy.step(module, scale=[1.0, nothing, 1.0])
    found = []
    for _ in range(4):
        shared, heads = toy.step(module)
        found.append(float(weights(module)[1]))
        assert torch.isfinite(shared).all() and heads[1] != 0
    assert all(0.01 < weight < 100 for weight in found)


def test_one_task_has_its_plain_gradient(build):
    """Or, where the loss is divided by itself, that of its logarithm."""
    module, toy = build(TASKS[:1]), Toy(TASKS[:1])
    for _ in range(3):
        shared, heads = toy.step(module)
    torch.testing.assert_close(shared, heads * toy.slopes[0])
    if not isinstance(module, (STCH, DBMTL, IMTL, UncertaintyWeighting)):
        assert heads.item() == pytest.approx(1)
    last = dict.fromkeys(TASKS, 0.0) | dict(semseg=1.0)
    module, toy = build(TASKS), Toy()
    shared, heads = toy.step(module, scale=list(last.values()))
    torch.testing.assert_close(shared, heads[0] * toy.slopes[0], rtol=1e-5, atol=1e-6)


def test_a_resumed_training_goes_on_to_the_bit(build, stop=3):
    """Also within the warm-up of STCH, the window of DWA and the average of DBMTL."""

    def run(module, steps):
        found = []
        for step in steps:
            toy.values = torch.tensor([2.0, 0.5, 1.0]) * (1 + 0.1 * step) ** torch.arange(3)
            found.append(torch.cat(toy.step(module)))
            if trained := list(module.parameters()):
                trained[0].data -= 0.1 * trained[0].grad
        return torch.stack(found)

    toy = Toy()
    straight, first, second = build(TASKS), build(TASKS), build(TASKS)
    expected = run(straight, range(8))
    run(first, range(stop))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(run(second, range(stop, 8)), expected[stop:])


# ---- gradients
def test_all_gradients_zero(build_of_gradients):
    module, toy = build_of_gradients(TASKS), Toy()
    toy.slopes.zero_()
    shared, heads = toy.step(module)
    assert (shared == 0).all() and torch.isfinite(heads).all() and (heads > 0).all()
    assert torch.isfinite(weights(module)).all()


def test_equal_gradients_give_their_sum(build_combining):
    toy, module = Toy(), build_combining(TASKS)
    toy.slopes[:] = toy.slopes[0].clone()
    shared, _ = toy.step(module)
    stretched = 1.4 / 1.16 if isinstance(module, CAGrad) else 1.0  # (1 + c) / (1 + c^2)
    torch.testing.assert_close(shared, 3 * stretched * toy.slopes[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('ratio', [1.0, 1 + 1e-6, 0.5])
def test_opposite_gradients_leave_the_third_task_its_own(build_of_gradients, ratio):
    module, toy = build_of_gradients(TASKS), Toy()
    toy.slopes[1] = -ratio * toy.slopes[0]
    shared, heads = toy.step(module)
    assert torch.isfinite(shared).all() and torch.isfinite(heads).all()
    assert shared.norm() < 50 * toy.slopes.norm()
    assert torch.isfinite(weights(module)).all()


@pytest.mark.parametrize('scale', [1e-30, 1e-12, 1e-6, 1e6, 1e12])
def test_the_scale_of_the_gradients_is_that_of_the_result(build_combining, scale):
    """Nothing is added to squares of gradients that would matter for small ones."""
    toy = Toy()
    expected = toy.step(build_combining(TASKS))[0]
    found = toy.step(build_combining(TASKS), scale=[scale] * 3)[0]
    torch.testing.assert_close(found / scale, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize('value', [1e-30, -1.0])
def test_a_tiny_or_negative_loss(build, value):
    """It is neither blown up beyond bounds, nor is its gradient reversed."""
    module, toy = build(TASKS), Toy()
    toy.values = torch.tensor([value, 0.5, 1.0])
    for _ in range(6):
        shared, heads = toy.step(module)
        assert torch.isfinite(shared).all() and torch.isfinite(heads).all()
        assert (heads >= 0).all() and heads.max() <= 3.1e6
    assert torch.isfinite(weights(module)).all()
    assert all(torch.isfinite(part.double()).all() for part in module.state_dict().values())


# ---- what is promised
def test_without_conflict_upgrad_and_pcgrad_are_the_sum():
    toy = Toy()
    toy.slopes.abs_()
    for cls in (UPGrad, PCGrad):
        torch.testing.assert_close(toy.step(cls(TASKS))[0], toy.slopes.sum(0))


def test_fairgrad_and_upgrad_harm_no_task():
    for seed in range(20):
        toy = Toy(seed=seed)
        for cls in (FairGrad, UPGrad):
            shared, _ = toy.step(cls(TASKS))
            gains = toy.slopes @ shared / toy.slopes.norm(dim=1) / shared.norm()
            assert gains.min() > -1e-3


def test_cagrad_goes_from_the_sum_to_the_worst_task():
    toy, gains = Toy(seed=3), []
    for c in (0.0, 0.3, 0.6, 0.9):
        shared, _ = toy.step(CAGrad(TASKS, c=c))
        gains.append(float((toy.slopes @ shared).min()) * (1 + c**2))
    torch.testing.assert_close(toy.step(CAGrad(TASKS, c=0.0))[0], toy.slopes.sum(0))
    assert np.all(np.diff(gains) > 0)


@pytest.mark.parametrize('length', ['min', 'median', 'mean'])
def test_aligned_components_have_the_length_that_is_asked_for(length):
    """Orthogonal gradients are the components themselves."""
    toy = Toy()
    toy.slopes = torch.diag(torch.tensor([1.0, 2.0, 4.0, 0, 0, 0]))[:3]
    shared, _ = toy.step(AlignedMTL(TASKS, length=length))
    expected = dict(min=1.0, median=2.0, mean=7**0.5)[length]
    torch.testing.assert_close(shared[:3], torch.full((3,), expected))


def test_what_drowns_in_the_rounding_of_the_sum_is_said_once():
    toy, module = Toy(), AlignedMTL(TASKS, tolerance=0.0)
    with pytest.warns(UserWarning, match=r'AlignedMTL.*base_weights'):
        toy.step(module, scale=[1.0, 1e5, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        toy.step(module, scale=[1.0, 1e5, 1.0])
        toy.step(AlignedMTL(TASKS, tolerance=0.0), scale=[1.0, 1e3, 1.0])
    with torch.autocast('cpu', dtype=torch.bfloat16), pytest.warns(UserWarning, match='half'):
        toy.step(AlignedMTL(TASKS, tolerance=0.0), scale=[1.0, 1e3, 1.0])


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: FairGrad(TASKS, alpha=0), r'model.weighting.alpha \(FairGrad\)'),
        (lambda: CAGrad(TASKS, c=1.0), r'model.weighting.c \(CAGrad\)'),
        (lambda: UPGrad(TASKS, regularisation=0), r'model.weighting.regularisation'),
        (lambda: AlignedMTL(TASKS, length='max'), r"\['min', 'median', 'mean'\], got 'max'"),
        (lambda: AlignedMTL(TASKS, tolerance=-1), r'model.weighting.tolerance'),
        (lambda: IMTL(TASKS, False, False), 'losses and gradients are both False'),
        (lambda: DBMTL(TASKS, momentum=1.0), 'momentum from 0 to below 1'),
        (lambda: STCH(TASKS, mu=0), r'model.weighting.mu \(STCH\)'),
        (lambda: STCH(TASKS, warmup=10, interval=20), '0 < interval <= warmup'),
        (lambda: FAMO(TASKS, learning_rate=0), 'learning_rate above 0'),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
