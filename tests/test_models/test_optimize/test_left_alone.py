"""Rewrites leave alone what they do not know, and an adapted layer keeps its effect."""

import pytest
import torch
from rewrite_cases import CASES, EVERY_CASE, values
from torch import nn

from m2h_mm.models.layers.feed_forward import MLP
from m2h_mm.models.optimize import REWRITES, optimize

EVERY_READ = pytest.mark.parametrize(
    ('case', 'name'),
    [
        pytest.param(case, name, id=f'{key}-{name}')
        for key, case in CASES.items()
        for name in case.read
    ],
)


class Adapter(nn.Module):
    """Wraps a layer as an adapter does, with an effect that commutes with nothing."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, *args, **kwargs):
        out = self.base(*args, **kwargs)
        return out + 0.5 * out.sin()


def wrap(module: nn.Module, name: str) -> None:
    parent, _, child = name.rpartition('.')
    parent = module.get_submodule(parent)
    setattr(parent, child, Adapter(getattr(parent, child)))


def patch_forward(module: nn.Module, name: str) -> None:
    layer = module.get_submodule(name)
    forward = layer.forward

    def patched(*args, **kwargs):
        out = forward(*args, **kwargs)
        return out + 0.5 * out.sin()

    layer.forward = patched


def hook(module: nn.Module, name: str) -> None:
    module.get_submodule(name).register_forward_hook(lambda _, __, out: out + 0.5 * out.sin())


def subclass(module: nn.Module, name: str) -> None:
    layer = module.get_submodule(name)
    plain = getattr(REWRITES.get(type(layer)), 'plain', type(layer))

    def forward(self, *args, **kwargs):
        out = plain.forward(self, *args, **kwargs)
        return out + 0.5 * out.sin()

    layer.__class__ = type('Mine', (type(layer),), dict(forward=forward))


@pytest.mark.parametrize('adapt', [wrap, patch_forward, hook, subclass], ids=lambda f: f.__name__)
@EVERY_READ
def test_an_adapted_layer_keeps_its_effect_whichever_comes_first(case, name, adapt):
    untouched = values(case.make(), case.inputs, torch.float64, train=True)
    plain, before, after = (case.make() for _ in range(3))
    for module in (plain, before):
        adapt(module, name)
    optimize(before, training=True)
    optimize(after, training=True)
    adapt(after, name)
    for train in (True, False):
        expected = values(plain, case.inputs, torch.float64, train)
        for module in (before, after):
            actual = values(module, case.inputs, torch.float64, train)
            for x, exact in zip(actual, expected, strict=True):
                torch.testing.assert_close(x, exact, rtol=1e-10, atol=1e-10)
        if train:
            assert not all(map(torch.allclose, expected, untouched))


@EVERY_CASE
def test_a_subclass_is_left_alone(case):
    module = case.make()
    target = next(m for m in module.modules() if type(m) is case.plain)
    target.__class__ = type('Mine', (case.plain,), {})
    optimize(module, training=True)
    assert type(target).__name__ == 'Mine'


def test_a_module_whose_forward_was_replaced_is_left_alone():
    module = MLP(4, 4)
    module.forward = lambda tokens: tokens + 1
    assert type(optimize(module, training=True)) is MLP and module(torch.zeros(1)).item() == 1
