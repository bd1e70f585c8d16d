"""Every rewrite computes what the plain module does."""

import inspect
import re
from copy import deepcopy

import pytest
import torch
from rewrite_cases import CASES, EVERY_CASE, values
from torch import Tensor, nn

from m2h_mm.models.layers.feed_forward import MLP
from m2h_mm.models.layers.fusion import FusionBlock
from m2h_mm.models.optimize import REWRITES, optimize, rewrites
from m2h_mm.models.optimize import rewrites as rewrites_module


def largest_error(actual: list[Tensor], exact: list[Tensor]) -> Tensor:
    return max((x - y).abs().max() for x, y in zip(actual, exact, strict=True))


def test_every_rewrite_is_tested():
    assert {case.plain for case in CASES.values()} == set(REWRITES)


def test_the_table_of_rewrites_is_true():
    """The one in the module's text, which is what people read."""
    text = inspect.getsource(inspect.getmodule(rewrites_module))
    rows = re.findall(r'^([A-Z]\w+)(-?) +(yes|no) +(yes|no) ', text, re.MULTILINE)
    found = {
        next(cls.__name__ for cls in REWRITES if cls.__name__.startswith(name)): (
            training == 'yes',
            inference == 'yes',
        )
        for name, _, training, inference in rows
    }
    assert found == {
        cls.__name__: (rewrite.training, rewrite.inference) for cls, rewrite in REWRITES.items()
    }


@pytest.mark.parametrize('train', [False, True], ids=['inference', 'training'])
@EVERY_CASE
def test_values_and_gradients_are_those_of_the_plain_module(case, train):
    plain = case.make()
    fast = optimize(deepcopy(plain), training=train)
    rewritten = any(type(module) is REWRITES[case.plain].fast for module in fast.modules())
    assert rewritten is getattr(REWRITES[case.plain], 'training' if train else 'inference')
    expected = values(plain, case.inputs, torch.float64, train)
    actual = values(fast, case.inputs, torch.float64, train)
    assert len(actual) == len(expected)
    for x, exact in zip(actual, expected, strict=True):
        torch.testing.assert_close(x, exact, rtol=1e-10, atol=1e-10)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(fast.get_buffer(name), buffer, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('train', [False, True], ids=['inference', 'training'])
@EVERY_CASE
def test_rounding_in_float32_is_that_of_the_plain_module(case, train):
    """Each is off by rounding: the fast one's largest error is not more than four times the plain
    one's, or four units in the last place of the largest value.
    """
    exact = values(case.make(), case.inputs, torch.float64, train)
    plain = values(case.make(torch.float32), case.inputs, torch.float32, train)
    fast = optimize(case.make(torch.float32), training=train)
    fast = values(fast, case.inputs, torch.float32, train)
    unit = torch.finfo(torch.float32).eps * max(x.abs().max() for x in exact)
    assert largest_error(fast, exact) <= 4 * max(largest_error(plain, exact), unit)


@EVERY_CASE
def test_parameters_and_their_names_stay(case):
    module = case.make()
    before = dict(module.named_parameters())
    keys, structure = list(module.state_dict()), [name for name, _ in module.named_modules()]
    assert optimize(module, training=True) is module
    assert list(module.state_dict()) == keys
    assert [name for name, _ in module.named_modules()] == structure
    assert all(parameter is before[name] for name, parameter in module.named_parameters())
    assert isinstance(next(m for m in module.modules() if isinstance(m, case.plain)), case.plain)


def test_fast_forms_are_chosen_anew():
    module = optimize(nn.Sequential(MLP(4, 4), FusionBlock(4)), training=True)
    assert [type(m).__name__ for m in module] == ['FastMLP', 'FastFusionBlock']
    assert [type(m).__name__ for m in optimize(module)] == ['MLP', 'FastFusionBlock']


def test_a_copy_is_as_fast():  # an average of the weights is one
    fast = optimize(FusionBlock(4), training=True)
    assert type(deepcopy(fast)) is type(fast) is not FusionBlock


def test_a_second_fast_form_is_refused():
    with pytest.raises(TypeError, match='FastMLP2'):
        rewrites(MLP)(type('FastMLP2', (MLP,), {}))
    with pytest.raises(TypeError, match='subclass of Conv2d'):
        rewrites(nn.Conv2d)(type('NoConv', (nn.Module,), {}))
