import pytest
import torch
from torch import nn
from torch.nn import functional as F

from m2h_mm.models.optimize.feed_forward import gelu_linear


def gradients(function, *tensors):
    return torch.autograd.grad(function().pow(2).sum(), tensors)


@pytest.mark.parametrize('bias', [True, False])
def test_values_and_gradients_are_those_of_the_two_layers(bias):
    torch.manual_seed(0)
    linear = nn.Linear(5, 3, bias=bias).double()
    x = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    leaves = (x, *linear.parameters())
    torch.testing.assert_close(gelu_linear(x, linear), linear(F.gelu(x)))
    torch.testing.assert_close(
        gradients(lambda: gelu_linear(x, linear), *leaves),
        gradients(lambda: linear(F.gelu(x)), *leaves),
    )


@pytest.mark.parametrize('frozen', ['weight', 'bias', 'input'])
def test_what_is_frozen_gets_no_gradient(frozen):
    linear = nn.Linear(5, 3)
    leaves = dict(
        input=torch.randn(4, 5, requires_grad=True), weight=linear.weight, bias=linear.bias
    )
    leaves[frozen].requires_grad_(False)
    gelu_linear(leaves['input'], linear).sum().backward()
    assert [name for name, leaf in leaves.items() if leaf.grad is None] == [frozen]


def test_gelu_itself_is_not_kept():
    linear, kept = nn.Linear(5, 3), []
    x = torch.randn(4, 5, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor
    ):
        gelu_linear(x, linear)
    assert {tensor.data_ptr() for tensor in kept} == {x.data_ptr(), linear.weight.data_ptr()}


def test_autocast_computes_as_in_the_two_layers():
    torch.manual_seed(0)
    linear = nn.Linear(5, 3)
    x = torch.randn(4, 5).bfloat16().requires_grad_()
    leaves = (x, linear.weight, linear.bias)
    with torch.autocast('cpu', torch.bfloat16):
        ours, theirs = gelu_linear(x, linear), linear(F.gelu(x))
    assert ours.dtype == torch.bfloat16 and torch.equal(ours, theirs)
    for actual, expected in zip(
        gradients(lambda: ours.float(), *leaves),
        gradients(lambda: theirs.float(), *leaves),
        strict=True,
    ):
        assert actual.dtype == expected.dtype
        torch.testing.assert_close(actual, expected, rtol=2e-2, atol=2e-2)
