"""Weightings that look at the tasks' gradients: GradNorm and PCGrad, against plain computations of
the papers.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

from m2h_mm.engine.config import load_config
from m2h_mm.models.building import trainable_of
from m2h_mm.models.weighting import GradNorm, PCGrad
from m2h_mm.registry import MODELS

TASKS = ('semseg', 'depth', 'normals')


class Toy(nn.Module):
    """A shared layer, one head a task, squared errors."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.shared = nn.Linear(4, 5)
        self.heads = nn.ModuleDict({task: nn.Linear(5, 1) for task in TASKS})
        self.x, self.y = torch.randn(16, 4), {task: 3 * torch.randn(16, 1) for task in TASKS}

    def losses(self):
        hidden = self.shared(self.x)
        return {
            task: scale * ((head(hidden) - self.y[task]) ** 2).mean()
            for scale, (task, head) in zip((1.0, 10.0, 0.1), self.heads.items(), strict=True)
        }

    def task_gradients(self, base=(1, 1, 1)):
        rows = []
        for factor, loss in zip(base, self.losses().values(), strict=True):
            rows.append(
                torch.cat(
                    [
                        factor * part.flatten()
                        for part in torch.autograd.grad(
                            loss, list(self.shared.parameters()), retain_graph=True
                        )
                    ]
                )
            )
        return rows


def gradients(module):
    return torch.cat([parameter.grad.flatten() for parameter in module.parameters()])


# ---- PCGrad


def test_pcgrad_of_two_conflicting_gradients_by_hand():
    """(1, 0) and (-1, 1): each loses what is against the other, 1/2 (1, 1) and (0, 1)."""
    parameter = nn.Parameter(torch.zeros(2))
    module = PCGrad(('a', 'b'))
    given = dict(a=parameter[0] + 5, b=parameter[1] - parameter[0])
    weighted = module(given, [parameter])
    assert [value.item() for value in weighted.values()] == [5, 0]
    sum(weighted.values()).backward()
    assert parameter.grad.tolist() == pytest.approx([0.5, 1.5])
    # (1, 0) + 1/2 (-1, 1), and (-1, 1) + (1, 0)
    assert [float(weight) for weight in module.weights.values()] == pytest.approx([2, 1.5])


def test_pcgrad_leaves_gradients_alone_that_agree():
    parameter = nn.Parameter(torch.zeros(2))
    module = PCGrad(('a', 'b'))
    sum(
        module(dict(a=parameter[0], b=parameter[1] + parameter[0]), [parameter]).values()
    ).backward()
    assert parameter.grad.tolist() == [2, 1]
    assert [float(weight) for weight in module.weights.values()] == [1, 1]


def paper_pcgrad(rows, orders):
    """Algorithm 1, on the gradients themselves."""
    total = torch.zeros_like(rows[0])
    for own, row in enumerate(rows):
        projected = row.clone()
        for other in orders[own]:
            if other != own and projected @ rows[other] < 0:
                projected -= projected @ rows[other] / (rows[other] @ rows[other]) * rows[other]
        total += projected
    return total


@pytest.mark.parametrize('base', [(1, 1, 1), (2, 0.5, 30)])
def test_pcgrad_is_the_papers_algorithm_on_shared_parameters_and_nothing_on_heads(base):
    toy, plain = Toy(), Toy()
    module = PCGrad(TASKS, dict(zip(TASKS, base, strict=True)), seed=3)
    sum(module(toy.losses(), list(toy.shared.parameters())).values()).backward()
    generator = np.random.default_rng((3, 0))
    rows = plain.task_gradients(base)
    assert min(float(a @ b) for a in rows for b in rows) < 0, 'the example has no conflict'
    expected = paper_pcgrad(rows, [generator.permutation(3) for _ in TASKS])
    assert torch.allclose(gradients(toy.shared), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(expected, sum(rows), rtol=1e-2)
    sum(
        factor * loss for factor, loss in zip(base, plain.losses().values(), strict=True)
    ).backward()
    assert torch.allclose(gradients(toy.heads), gradients(plain.heads))


def test_pcgrad_follows_what_scales_the_loss():
    """As accumulation and loss scaling do."""
    toy, scaled = Toy(), Toy()
    for example, factor in ((toy, 1), (scaled, 1024 / 4)):
        (
            factor
            * sum(PCGrad(TASKS)(example.losses(), list(example.shared.parameters())).values())
        ).backward()
    assert torch.allclose(gradients(scaled), gradients(toy) * 256)


def test_pcgrad_goes_on_after_resuming():
    toy = Toy()
    parameters = list(toy.shared.parameters())

    def step(module):
        toy.zero_grad()
        sum(module(toy.losses(), parameters).values()).backward()
        return gradients(toy.shared)

    straight, first, second = (PCGrad(TASKS, seed=5) for _ in range(3))
    history = [step(straight) for _ in range(8)]
    assert any(not torch.equal(history[0], other) for other in history), (
        'the order makes no difference here'
    )
    for _ in range(3):
        step(first)
    second.load_state_dict(first.state_dict())
    assert torch.equal(torch.stack([step(second) for _ in range(5)]), torch.stack(history[3:]))


# ---- GradNorm


@pytest.mark.parametrize('alpha', [0.0, 1.5])
def test_gradnorm_follows_the_papers_equations(alpha):
    """Eq. 1 and 2 by autograd, the weights scaled to their number, while the model learns."""
    rate, base = 0.2, torch.tensor([1.0, 0.5, 3.0])
    toy = Toy()
    optimizer = torch.optim.SGD(toy.parameters(), 0.01)
    module = GradNorm(TASKS, alpha, rate, dict(zip(TASKS, base.tolist(), strict=True)))
    weights, first = torch.ones(3), None
    for _ in range(6):
        found = [float(weight) for weight in module.weights.values()]
        assert found == pytest.approx((weights * base).tolist(), rel=1e-4)
        current = torch.stack([loss.detach() for loss in toy.losses().values()])
        first = current if first is None else first
        logarithms = weights.log().requires_grad_()
        norms = logarithms.exp() * torch.stack([row.norm() for row in toy.task_gradients(base)])
        inverse_rates = (current / first) / (current / first).mean()
        target = (norms.mean() * inverse_rates**alpha).detach()
        balance = (norms - target).abs().sum() / norms.mean().detach()
        balance.backward()
        weights = (logarithms.detach() - rate * logarithms.grad).exp()
        weights = 3 * weights / weights.sum()

        optimizer.zero_grad()
        weighted = module(toy.losses(), list(toy.shared.parameters()))
        sum(weighted.values()).backward()
        optimizer.step()
    assert (weights - 1).abs().max() > 0.3


@pytest.mark.parametrize(('alpha', 'rises'), [(1.0, True), (2.0, False)])
def test_gradnorm_weighs_the_training_rate_by_alpha(alpha, rises):
    """Norms 0.5 and 1.5, then rates 2/3 and 4/3: the first task's target is 2/3 or 4/9."""
    parameter = nn.Parameter(torch.zeros(2))
    module = GradNorm(('a', 'b'), alpha, learning_rate=1e-3)
    weights = []
    for loss_of_a in (1.0, 0.5):
        module(dict(a=parameter[0] * 0.5 + loss_of_a, b=parameter[0] * 1.5 + 1.0), [parameter])
        weights.append(float(module.weights['a']))
    assert weights[0] > 1  # all rates are 1, and its norm is the smaller one
    assert (weights[1] > weights[0]) == rises


def test_gradnorm_brings_gradients_to_one_norm():
    toy = Toy()
    module = GradNorm(TASKS, alpha=0, learning_rate=0.05)
    for _ in range(300):
        module(toy.losses(), list(toy.shared.parameters()))
    norms = torch.stack(
        [
            float(weight) * row.norm()
            for weight, row in zip(module.weights.values(), toy.task_gradients(), strict=True)
        ]
    )
    assert norms.max() / norms.min() < 1.15
    assert sum(float(weight) for weight in module.weights.values()) == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize('nothing', [0.0, math.nan, math.inf])
def test_gradnorm_lets_a_task_rest_that_says_nothing(nothing):
    toy, two = Toy(), Toy()
    module, without = GradNorm(TASKS), GradNorm(('semseg', 'normals'))
    for _ in range(3):
        given = toy.losses()
        given['depth'] = given['depth'] * nothing
        module(given, list(toy.shared.parameters()))
        given = two.losses()
        given.pop('depth')
        without(given, list(two.shared.parameters()))
    assert float(module.weights['depth']) == 1
    assert float(without.weights['semseg']) != 1
    for task in ('semseg', 'normals'):
        assert float(module.weights[task]) == pytest.approx(float(without.weights[task]), rel=1e-5)


def test_gradnorm_state_round_trip_and_averages_over_processes(monkeypatch):
    toy = Toy()
    parameters = list(toy.shared.parameters())
    first, second = GradNorm(TASKS), GradNorm(TASKS)
    for _ in range(3):
        first(toy.losses(), parameters)
    second.load_state_dict(first.state_dict())
    first(toy.losses(), parameters), second(toy.losses(), parameters)
    assert first.weights == second.weights and first.weights['depth'] != 1
    # A second process with the same losses, but none of depth, changes nothing: losses are divided
    # by how many there are.
    alone, together = GradNorm(TASKS), GradNorm(TASKS)
    alone(toy.losses(), parameters)
    monkeypatch.setattr(
        'm2h_mm.models.weighting.base.all_reduce',
        lambda data: data.mul_(torch.tensor([2, 1, 2])),
    )
    together(toy.losses(), parameters)
    assert [float(w) for w in together.weights.values()] == pytest.approx(
        [float(w) for w in alone.weights.values()]
    )
    assert torch.allclose(together.initial, alone.initial)


# ---- both


@pytest.mark.parametrize('cls', [GradNorm, PCGrad])
def test_without_gradients_or_with_one_task_the_losses_are_only_weighted(cls):
    toy = Toy()
    module = cls(TASKS, base_weights=dict(depth=2.0))
    with torch.no_grad():
        weighted = module(toy.losses())
    assert weighted['depth'] == 2 * toy.losses()['depth']
    one = module(dict(depth=toy.losses()['depth']))
    assert one['depth'].item() == 2 * toy.losses()['depth'].item()
    module.eval()(toy.losses())
    assert float(module.weights['depth']) == 2


@pytest.mark.parametrize('cls', [GradNorm, PCGrad])
def test_parameters_of_one_task_alone_do_not_count(cls):
    def run(parameters):
        module = cls(TASKS, seed=0) if cls is PCGrad else cls(TASKS)
        toy.zero_grad()
        sum(module(toy.losses(), parameters).values()).backward()
        return gradients(toy), list(module.weights.values())

    toy = Toy()
    every, shared = run(list(toy.parameters())), run(list(toy.shared.parameters()))
    assert torch.allclose(every[0], shared[0]) and every[1] == shared[1]
    with pytest.raises(ValueError, match='none is shared by two of the tasks'):
        run(list(toy.heads.parameters()))


def test_the_scale_is_halved_until_the_gradients_fit():
    toy = Toy()
    module = PCGrad(TASKS)
    module.scale.fill_(2.0**127)
    for _ in range(20):
        toy.zero_grad()
        sum(module(toy.losses(), list(toy.shared.parameters())).values()).backward()
        assert torch.isfinite(gradients(toy)).all()
    assert 1 < module.scale < 2.0**126
    assert max(float(weight) for weight in module.weights.values()) > 1


@pytest.fixture
def model_config(tiny):
    cfg = load_config(tiny[0]).model
    cfg.weighting = dict(type='PCGrad', base_weights=dict(edge=10.0))
    return cfg


def test_the_model_hands_over_what_is_shared(model_config, tiny):
    model = MODELS.build(model_config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    handed = [names[id(parameter)] for parameter in trainable_of(model, model._weighting_parts)]
    assert {name.split('.')[0] for name in handed} == {'neck', 'decoder'}
    model.neck.requires_grad_(False)
    assert {
        names[id(parameter)].split('.')[0]
        for parameter in trainable_of(model, model._weighting_parts)
    } == {'decoder'}
    model_config.weighting.shared = ['backbone', 'decoder.interaction']
    model = MODELS.build(model_config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    handed = [names[id(parameter)] for parameter in trainable_of(model, model._weighting_parts)]
    assert any(name.startswith('backbone.') for name in handed)
    assert all(name.startswith(('backbone.', 'decoder.interaction.')) for name in handed)
    model_config.weighting.shared = ['decoder.interactoin']
    with pytest.raises(ValueError, match=r"model.weighting.shared.*\['decoder.interactoin'\]"):
        MODELS.build(model_config)
