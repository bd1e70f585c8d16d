"""Whole models, optimised: what they compute, and that they compute it in the fast forms."""

import pytest
import torch
from torch import Tensor, nn

from m2h_mm.models.optimize import REWRITES, optimize
from m2h_mm.registry import MODELS

TASKS = dict(semseg=dict(num_classes=7), depth=dict(), normals=dict(), edge=dict())
FAST = {rewrite.fast for rewrite in REWRITES.values()}


def m2h(decoder: dict, separable: bool = False, hidden: tuple[int, ...] = (16, 8)) -> dict:
    switch = dict(separable=separable)
    heads = dict(semseg='Semseg', depth='Depth', normals='Normals', edge='Edge')
    return dict(
        backbone=dict(
            type='DINOv2',
            arch=dict(embed_dims=24, depth=4, num_heads=3),
            out_indices=(0, 1, 2, 3),
            img_size=70,
        ),
        neck=dict(type='TokenReassembly', out_channels=16, **switch),
        decoder=dict(
            type='M2HDecoder',
            channels=16,
            merger=dict(type='GGFM', tasks=('semseg', 'depth'), **switch),
            **switch,
            **decoder,
        ),
        heads={
            task: dict(type=f'M2H{name}Head', hidden_channels=hidden, **switch)
            for task, name in heads.items()
        },
    )


METHODS = dict(
    m2h=m2h(dict(interaction=dict(type='WMCA', window_size=7, num_heads=4))),
    m2h_small=m2h(dict(interaction=dict(type='WMCA', reduction=2, pooling=2)), separable=True),
    m2h_fast=m2h(
        dict(
            interaction=dict(type='WMCA', pooling=2, num_heads=2),
            shared_fusion=True,
            upsample_last=False,
        ),
        hidden=(8,),
    ),
    invpt=dict(
        backbone=dict(type='ViT', arch=dict(embed_dims=16, depth=4, num_heads=2), img_size=64),
        decoder=dict(type='InvPTDecoder', channels=12, extra_channels=4),
        heads=dict.fromkeys(TASKS, dict(type='LinearHead')),
    ),
    mti_net=dict(
        backbone=dict(type='ViT', arch=dict(embed_dims=16, depth=4, num_heads=2), img_size=64),
        neck=dict(type='TokenReassembly', out_channels=8, in_strides=(16,) * 4),
        decoder=dict(type='MTINetDecoder'),
        heads=dict.fromkeys(TASKS, dict(type='LinearHead')),
    ),
    global_attention=m2h(dict(interaction=dict(type='GlobalCrossTaskAttention', pooling=4))),
)
EVERY_METHOD = pytest.mark.parametrize('method', METHODS)


def build(method: str) -> nn.Module:
    torch.manual_seed(0)
    losses = dict.fromkeys(TASKS, dict(type='L1Loss'))
    model = MODELS.build(dict(type='MultiTaskModel', tasks=TASKS, losses=losses, **METHODS[method]))
    for parameter in model.parameters():  # no bias is zero, no norm is the identity
        if parameter.ndim == 1:
            nn.init.normal_(parameter, parameter.mean().item(), 0.2)
    if hasattr(model.heads.depth, 'final'):
        nn.init.constant_(model.heads.depth.final.bias, 2.0)  # else its ReLU may be closed
    return model.double()


def image(method: str) -> Tensor:
    patch = 14 if 'ViT' not in METHODS[method]['backbone']['type'] else 16
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 2 * patch, 3 * patch, generator=generator).double()


def largest_difference(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Of all tasks, as a share of the task's largest value."""
    assert actual.keys() == expected.keys()
    return max(
        ((actual[task].double() - x).abs().max() / x.abs().max()).item()
        for task, x in expected.items()
    )


def fast_types(model: nn.Module) -> set[str]:
    return {type(module).__name__ for module in model.modules() if type(module) in FAST}


@EVERY_METHOD
@torch.no_grad()
def test_outputs_are_those_of_the_plain_model(method):
    plain, fast, x = build(method).eval(), optimize(build(method)).eval(), image(method)
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert fast_types(fast) and not fast_types(plain)
    assert fast.channels_last and not plain.channels_last
    exact = plain(x)
    assert all((value.amax((2, 3)) - value.amin((2, 3))).max() > 1e-3 for value in exact.values())
    assert largest_difference(fast(x), exact) < 1e-10
    for tasks in (('depth',), ('edge', 'semseg')):
        assert (
            largest_difference(fast(x, tasks=tasks), {task: exact[task] for task in tasks}) < 1e-10
        )
    # Both are off by their own rounding. The fast one rounds fewer, but other results.
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast('cpu', dtype, enabled=dtype == torch.bfloat16):
            errors = [largest_difference(m.float()(x.float()), exact) for m in (fast, plain)]
        assert 0 < errors[0] < 3 * errors[1], dtype


@EVERY_METHOD
def test_a_training_step_is_that_of_the_plain_model(method):
    """Outputs, intermediate predictions, gradients of all parameters, running statistics."""
    plain, fast = build(method).train(), optimize(build(method), training=True).train()
    assert fast_types(fast) and not fast.channels_last
    for model in (plain, fast):
        outputs, aux, *_ = model.run_network(image(method))
        generator = torch.Generator().manual_seed(2)
        loss = 0
        for found in (outputs, *aux):
            for value in found.values():
                weight = torch.randn(value.shape, generator=generator, dtype=torch.double)
                loss = loss + (weight * value).sum()
        loss.backward()
        model.found = [value for found in (outputs, *aux) for value in found.values()]
    for value, expected in zip(fast.found, plain.found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    # Gradients of what a norm takes out again are zero but for the rounding of much larger terms.
    scale = max(gradient.abs().max() for gradient in gradients.values() if gradient is not None)
    for name, parameter in fast.named_parameters():
        if gradients[name] is None:
            assert parameter.grad is None, name
        else:
            error = (parameter.grad - gradients[name]).abs().max()
            assert error < 1e-12 * scale, name
    for (name, buffer), expected in zip(fast.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected, rtol=1e-10, atol=1e-10, msg=name)


def test_every_fast_form_is_part_of_a_method():
    found = set().union(*(fast_types(optimize(build(method), training=True)) for method in METHODS))
    # For inference alone.
    experts = MODELS.build(dict(type='LowRankExperts', channels=4, tasks=TASKS))
    found |= fast_types(optimize(experts))
    assert found == {cls.__name__ for cls in FAST}
