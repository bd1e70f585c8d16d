"""Every rewrite computes what the plain module does, and leaves alone what it does not know."""

import inspect
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from m2h_mm.methods.invpt.stage import CrossTaskAttention, InvPTStage
from m2h_mm.methods.m2h.aspp import ASPP
from m2h_mm.methods.m2h.heads import M2HEdgeHead, M2HNormalsHead
from m2h_mm.methods.m2h.upsample import UpsampleBlock
from m2h_mm.models.interactions.wmca import WMCA, CrossTaskLayer, TaskLayerNorm
from m2h_mm.models.layers.distillation import MultiModalDistillationUnit
from m2h_mm.models.layers.feed_forward import MLP, FeedForward
from m2h_mm.models.layers.fusion import FusionBlock
from m2h_mm.models.necks.token_reassembly import ReassembleLevel
from m2h_mm.models.optimize import REWRITES, optimize, rewrites
from m2h_mm.models.optimize import rewrites as rewrites_module

TASKS = ('semseg', 'depth', 'edge')


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def task_maps(channels: int, *size: int) -> dict[str, Tensor]:
    return {task: randn(2, channels, *size, seed=index) for index, task in enumerate(TASKS)}


class Contribution(nn.Module):
    """What a stage of InvPT adds to the maps of two of its tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = InvPTStage(TASKS, 8, 6, pooling=2, in_channels=4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.stage.contribution(tokens, (0, 2), (9, 12))


@dataclass
class Case:
    """A module with a rewrite.

    Attributes:
        plain: the class that is rewritten.
        build: makes one, or a module that holds one.
        inputs: what it is called with.
        read: children whose weights the fast form reads or whose place it changes.
    """

    plain: type[nn.Module]
    build: Callable[[], nn.Module]
    inputs: tuple
    read: tuple[str, ...] = ()

    def make(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        torch.manual_seed(0)
        module = self.build()
        for parameter in module.parameters():  # no bias is zero, no norm is the identity
            nn.init.normal_(parameter, std=0.5)
        return module.to(dtype)


CASES = dict(
    mlp=Case(MLP, lambda: MLP(6, 10), (randn(2, 5, 6),), ('fc2',)),
    feed_forward=Case(FeedForward, lambda: FeedForward(6, 10), (randn(2, 5, 6),), ('1', '2')),
    fusion=Case(
        FusionBlock, lambda: FusionBlock(6), (randn(2, 6, 5, 3), randn(2, 6, 7, 4)), ('project',)
    ),
    fusion_separable=Case(
        FusionBlock, lambda: FusionBlock(6, separable=True), (randn(2, 6, 5, 3),)
    ),
    fusion_without_upsampling=Case(
        FusionBlock, lambda: FusionBlock(6, upsample=False), (randn(2, 6, 5, 3),), ('project',)
    ),
    task_norm=Case(
        TaskLayerNorm, lambda: TaskLayerNorm(6, TASKS), (randn(4, 2 * 3, 6),), ('depth',)
    ),
    # More windows than are computed at a time; all but the last chunk are full.
    cross_task_layer=Case(
        CrossTaskLayer, lambda: CrossTaskLayer(8, TASKS, 2, 2), (randn(70, 4 * 3, 8),)
    ),
    wmca=Case(
        WMCA,
        lambda: WMCA(8, TASKS, window_size=3, num_heads=2, num_layers=3, reduction=2, pooling=2),
        (task_maps(8, 9, 14),),
        ('post_project.depth', 'layers.1'),
    ),
    wmca_shifted=Case(
        WMCA,
        lambda: WMCA(
            8,
            TASKS,
            window_size=(3, 3, 3, 2),
            num_heads=2,
            num_layers=4,
            shift_size=(0, 0, 1, 1),
            mask_padding=True,
        ),
        (task_maps(8, 7, 5),),
        ('layers.1',),
    ),
    reassemble=Case(
        ReassembleLevel,
        lambda: ReassembleLevel(6, 4, 5, nn.Identity(), readout=True, separable=False),
        (randn(2, 6, 5, 3), randn(2, 6)),
        ('readout',),
    ),
    reassemble_without_token=Case(
        ReassembleLevel,
        lambda: ReassembleLevel(6, 4, 5, nn.Identity(), readout=False, separable=True),
        (randn(2, 6, 5, 3),),
    ),
    distillation=Case(
        MultiModalDistillationUnit,
        lambda: MultiModalDistillationUnit(4, TASKS),
        (task_maps(4, 5, 3), ('depth',)),
        ('convs.edge',),
    ),
    aspp=Case(ASPP, lambda: ASPP(8), (randn(2, 8, 9, 7),), ('fuse', 'branches.1')),
    aspp_separable=Case(ASPP, lambda: ASPP(8, separable=True), (randn(2, 8, 9, 7),), ('fuse',)),
    upsample=Case(
        UpsampleBlock, lambda: UpsampleBlock(8, 4), (randn(2, 8, 5, 3),), ('expand', 'shortcut')
    ),
    upsample_separable=Case(
        UpsampleBlock,
        lambda: UpsampleBlock(8, 4, separable=True),
        (randn(2, 8, 5, 3),),
        ('expand', 'shortcut'),
    ),
    normals_head=Case(
        M2HNormalsHead,
        lambda: M2HNormalsHead(8, hidden_channels=(8, 4)),
        (randn(2, 8, 5, 3),),
        ('final', 'upsample.1', 'upsample.1.expand', 'upsample.1.shortcut', 'upsample'),
    ),
    normals_head_separable=Case(
        M2HNormalsHead,
        lambda: M2HNormalsHead(8, hidden_channels=(8, 4), separable=True),
        (randn(2, 8, 5, 3),),
    ),
    edge_head=Case(
        M2HEdgeHead, lambda: M2HEdgeHead(8, hidden_channels=(4,)), (randn(2, 8, 5, 3),), ('final',)
    ),
    invpt_attention=Case(
        CrossTaskAttention,
        lambda: CrossTaskAttention(TASKS, 8, pooling=2, message=True),
        (randn(2, 3, 4, 8, 8), randn(2, 2, 3 * 1 * 2, 3 * 2 * 4)),
        ('fuse',),
    ),
    invpt_stage=Case(InvPTStage, Contribution, (randn(2, 3, 4, 6, 8),), ('stage.reduce.edge',)),
)
EVERY_CASE = pytest.mark.parametrize('case', CASES.values(), ids=CASES)
EVERY_READ = pytest.mark.parametrize(
    ('case', 'name'),
    [
        pytest.param(case, name, id=f'{key}-{name}')
        for key, case in CASES.items()
        for name in case.read
    ],
)


def values(module: nn.Module, inputs: tuple, dtype: torch.dtype, train: bool) -> list[Tensor]:
    """Outputs and, in training, the gradients of inputs and parameters."""
    module.train(train)
    inputs = deepcopy(inputs)
    leaves = [x for x in tree_leaves(inputs) if isinstance(x, Tensor)]
    for x in leaves:
        x.data = x.data.to(dtype)
        x.requires_grad_(train)
    with torch.set_grad_enabled(train):
        outputs = [x for x in tree_leaves(module(*inputs)) if isinstance(x, Tensor)]
        if not train:
            return outputs
        weights = [randn(*x.shape, seed=index).to(dtype) for index, x in enumerate(outputs)]
        loss = sum((x * weight).sum() for x, weight in zip(outputs, weights, strict=True))
        wanted = [*leaves, *module.parameters()]
        gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [*outputs, *(x for x in gradients if x is not None)]


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
