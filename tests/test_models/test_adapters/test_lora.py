"""LoRA on any backbone: the change it makes, what is trained, and its way into the weights."""

import copy
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from fidelity import TOLERANCES
from small_adapted import BACKBONES, LAYERS, build, changed_by_training, filled
from torch import nn
from torch.nn import functional as F

from m2h_mm.engine.hooks.activation_checkpointing_hook import checkpointed
from m2h_mm.inference.deployed_model import DeployedModel
from m2h_mm.models.adapters import merge_adapters
from m2h_mm.models.adapters.low_rank import LayerAdapter, LowRank
from m2h_mm.models.optimize import optimize

VECTORS = Path(__file__).parents[4] / 'shared' / 'reference' / 'm2h_mx' / 'm2h_mx_tiny.npz'
ALL_LINEAR = dict(layers=('qkv', 'proj', 'fc1', 'fc2'))


@pytest.fixture
def image():
    return torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    'name, dtype', [*((name, torch.float64) for name in BACKBONES), ('dinov2', torch.float32)]
)
def test_merged_weights_compute_the_same_and_have_the_plain_names(name, dtype, image):
    plain = build(name).to(dtype).eval()
    model = build(name, adapters=dict(LAYERS[name])).to(dtype).eval()
    own = {key: value.clone() for key, value in model.state_dict().items()}
    plain.load_state_dict({key: own[key] for key in plain.state_dict()})
    image = image.to(dtype)
    before = plain(image)['depth']
    torch.testing.assert_close(model(image)['depth'], before, rtol=0, atol=0)  # B is zero at first
    adapted = filled(model)(image)['depth']
    assert not torch.allclose(adapted, before, rtol=1e-2)
    assert list(merge_adapters(model).state_dict()) == list(plain.state_dict())
    tolerance = dict.fromkeys(('rtol', 'atol'), 1e-12 if dtype == torch.float64 else 1e-5)
    torch.testing.assert_close(model(image)['depth'], adapted, **tolerance)
    assert merge_adapters(model) is model and not any(
        module._forward_hooks for module in model.modules()
    )


@pytest.mark.parametrize('dtype', TOLERANCES)
def test_the_official_queries(dtype):
    """The first block's queries of M2H-MX, whose backbone is DINOv3 with LoRA."""
    with np.load(VECTORS, allow_pickle=False) as file:
        begin = 'weights/hfa_adapter.backbone.'
        weights = {
            key.removeprefix(begin): torch.from_numpy(file[key]).to(dtype)
            for key in file.files
            if key.startswith((f'{begin}embeddings.', f'{begin}layer.0.'))
        }
        image = torch.from_numpy(file['input/b']).to(dtype)
        expected = torch.from_numpy(file['output/b/backbone/block0_q_lora']).to(dtype)
    patches = F.conv2d(
        image,
        weights['embeddings.patch_embeddings.weight'],
        weights['embeddings.patch_embeddings.bias'],
        stride=16,
    )
    tokens = torch.cat(
        [
            weights['embeddings.cls_token'],
            weights['embeddings.register_tokens'],
            patches.flatten(2).transpose(1, 2),
        ],
        dim=1,
    )
    norm = [weights[f'layer.0.norm1.{name}'] for name in ('weight', 'bias')]
    layer = nn.Linear(48, 48).to(dtype)
    pair = LowRank(layer, 48, rank=4)
    LayerAdapter(layer, [{'': pair}], scale=8 / 4, dropout=0.05)
    name = 'layer.0.attention.q_proj'
    layer.load_state_dict({key: weights[f'{name}.linear.{key}'] for key in ('weight', 'bias')})
    pair.load_state_dict(dict(A=weights[f'{name}.lora_A'], B=weights[f'{name}.lora_B']))
    pair.eval()
    torch.testing.assert_close(
        layer(F.layer_norm(tokens, (48,), *norm)), expected, **TOLERANCES[dtype]
    )


def test_each_of_queries_keys_and_values_has_its_own():
    model = filled(build('dinov2', adapters=dict(type='LoRA', rank=2, alpha=6, qkv=('q', 'v'))))
    names = [name for name, _ in model.adapters.named_parameters()]
    assert names[:4] == [
        f'low_rank.blocks.0.attn.qkv.{key}' for key in ('q.A', 'q.B', 'v.A', 'v.B')
    ]
    x, layer = torch.randn(1, 5, 24), model.eval().backbone.blocks[0].attn.qkv
    change = (layer(x) - F.linear(x, layer.weight, layer.bias)).detach().chunk(3, -1)
    own = model.adapters.low_rank.blocks.get_submodule('0').attn.qkv
    torch.testing.assert_close(change[0], 3 * x @ own.q.A.T @ own.q.B.T, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(change[2], 3 * x @ own.v.A.T @ own.v.B.T, rtol=1e-4, atol=1e-5)
    assert not change[1].any()


# ---- training
@pytest.mark.parametrize('name', BACKBONES)
def test_only_adapters_and_what_is_named_change(name):
    changed = changed_by_training(build(name, adapters=LAYERS[name]))
    assert {key.split('.')[0] for key in changed} == {'adapters', 'decoder', 'heads'}
    model = build(name, adapters=dict(LAYERS[name], train_norms=True))
    changed = [key for key in changed_by_training(model) if key.startswith('backbone.')]
    norms = {
        name for name, module in model.backbone.named_modules() if 'Norm' in type(module).__name__
    }
    assert (
        changed and {key.removeprefix('backbone.').rpartition('.')[0] for key in changed} <= norms
    )


def test_parameters_that_are_named_are_trained_unless_the_backbone_needs_none_of_them():
    adapters = dict(LAYERS['dinov2'], also_train=('ls*', 'patch_embed', 'mask_token'))
    changed = changed_by_training(build('dinov2', adapters=adapters))
    backbone = {key for key in changed if key.startswith('backbone.')}
    assert {key.split('.')[1] for key in backbone} == {'blocks', 'patch_embed'}
    assert all('.ls' in key for key in backbone if 'blocks' in key)


def test_blocks_behind_the_last_output_are_neither_adapted_nor_counted():
    def layers(**options):
        model = build('dinov2', dict(out_indices=(0, 2)), adapters=dict(type='LoRA', **options))
        return list(model.adapters.adapted)

    assert layers() == [f'blocks.{block}.attn.qkv' for block in (0, 1, 2)]
    assert layers(last_units=1, layers='mlp.fc*') == ['blocks.2.mlp.fc1', 'blocks.2.mlp.fc2']


def test_dropout_is_of_the_change_alone(image):
    model = filled(
        build('dinov2', adapters=dict(type='LoRA', rank=2, alpha=2, dropout=0.5))
    ).train()
    x, layer = torch.ones(1, 4000, 24), model.backbone.blocks[0].attn.qkv
    dropped = layer(x)
    assert not torch.equal(dropped, layer(x))
    plain = F.linear(x, layer.weight, layer.bias)
    mean = (dropped - plain).mean(1)
    model.eval()
    torch.testing.assert_close(mean, (layer(x) - plain).mean(1), rtol=0, atol=0.1)
    for pair in model.adapters.parameters():
        nn.init.zeros_(pair)
    assert torch.equal(model.train().backbone.blocks[0].attn.qkv(x), plain)


# ---- together with others
@pytest.mark.parametrize('training', [True, False])
def test_fast_forms_keep_the_adapters(training, image):
    adapters = dict(type='LoRA', rank=2, dropout=0, **ALL_LINEAR)
    plain = filled(build('dinov2', adapters=adapters)).double()
    fast, image = optimize(copy.deepcopy(plain), training), image.double()
    losses = [model.train(training)(image)['depth'].square().mean() for model in (plain, fast)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(*losses)
    for one, other in zip(plain.adapters.parameters(), fast.adapters.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
        assert one.grad.any()
    for pair in fast.adapters.parameters():  # a copy has its own
        nn.init.zeros_(pair)
    assert not torch.allclose(plain(image)['depth'], fast(image)['depth'], rtol=1e-2)


def test_mixed_precision_and_activation_checkpointing(image):
    model = filled(build('dinov2', adapters=dict(type='LoRA', rank=2)))
    expected = model.eval()(image)['depth']
    with torch.autocast('cpu', torch.bfloat16):
        found = model(image)['depth']
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)
    gradients = []
    for kept in (True, False):
        for block in () if kept else model.backbone.blocks:
            block.forward = checkpointed(block)
        model.zero_grad()
        torch.manual_seed(0)
        model.train()(image)['depth'].square().mean().backward()
        gradients.append([p.grad.clone() for p in model.adapters.parameters()])
    torch.testing.assert_close(*gradients)


def test_a_random_backbone_is_announced(messages):
    build('dinov2', adapters=dict(type='LoRA')).init_weights()
    assert any('model.adapters without pretrained' in m for m in messages(logging.WARNING))


def test_a_deployed_model_has_them_in_its_weights(image):
    model = filled(build('dinov3', adapters=LAYERS['dinov3'])).eval()
    raw = model(image)['depth']
    deployed = DeployedModel(model, raw=True, dynamic=True).eval()
    assert deployed.network.adapters is None
    exported = torch.export.export(deployed, (image,)).module()
    inputs = (image - image.min()) * 10
    torch.testing.assert_close(exported(inputs), deployed(inputs), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(image)['depth'], raw, rtol=1e-3, atol=1e-3)


# ---- refused
class ReadsWeights(nn.Module):
    """A backbone that calls none of its layers."""

    out_channels, strides = (8,), (7,)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 7, stride=7)

    def forward(self, image):
        return F.conv2d(image, self.conv.weight, stride=7)


@pytest.mark.parametrize(
    'name, backbone, adapters, message',
    [
        ('dinov2', {}, dict(rank=0), 'rank: expected a number from 1, got 0'),
        ('dinov2', {}, dict(dropout=1.0), 'dropout: expected'),
        ('dinov2', {}, dict(qkv=('o',)), "qkv: expected some of .'q', 'k', 'v'"),
        ('dinov2', {}, dict(last_units=0), 'last_units: expected a number from 1, got 0'),
        ('dinov2', {}, dict(last_units=5), 'last_units: expected a number from 1 to 4'),
        ('dinov2', {}, dict(layers=('q_lin',)), 'q_lin. It has .*attn.qkv.*mlp.fc1'),
        ('dinov2', {}, dict(also_train=('ln',)), 'also_train: no parameter .* ln'),
        ('dinov2', {}, dict(ranks=2), r"no argument.s. \['ranks'\]"),
        ('dinov2', dict(frozen_stages=2), {}, 'without gradients.*frozen_stages=-1.*last_units'),
        ('lite', {}, {}, 'no layer of model.backbone .EfficientNetLite. is called qkv or'),
        ('lite', {}, dict(layers=('conv',)), 'grouped convolutions'),
        (ReadsWeights, {}, dict(layers=('conv',)), 'conv is not called'),
    ],
)
def test_what_cannot_be_adapted_is_refused(name, backbone, adapters, message):
    with pytest.raises(ValueError, match=f'model.adapters.*{message}'):
        build(name, backbone, adapters=dict(type='LoRA', **adapters))


def test_a_frozen_backbone_has_no_adapters():
    with pytest.raises(ValueError, match='freeze_backbone=False: adapters keep'):
        build('dinov2', adapters=dict(type='LoRA'), freeze_backbone=True)
