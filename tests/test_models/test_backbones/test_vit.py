"""ViT: an independent transformer's numbers, official names, image sizes, loading."""

import json

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from m2h_mm.models.backbones import ViT
from m2h_mm.models.backbones.vit import resample_positions
from m2h_mm.registry import MODELS

ARCH = dict(embed_dims=24, depth=4, num_heads=2)


def small_model(**kwargs) -> ViT:
    torch.manual_seed(0)
    model = ViT(**{**dict(arch=ARCH, img_size=(32, 48)), **kwargs})
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def torch_layer(block: nn.Module) -> nn.TransformerEncoderLayer:
    """PyTorch's own pre-norm layer with the weights of one of ours."""
    layer = nn.TransformerEncoderLayer(
        24,
        2,
        96,
        dropout=0,
        activation='gelu',
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=True,
    )
    names = {
        'self_attn.in_proj_': 'attn.qkv.',
        'self_attn.out_proj.': 'attn.proj.',
        'linear1.': 'mlp.fc1.',
        'linear2.': 'mlp.fc2.',
        'norm1.': 'norm1.',
        'norm2.': 'norm2.',
    }
    ours = block.state_dict()
    layer.load_state_dict(
        {
            theirs + kind: ours[name + kind]
            for theirs, name in names.items()
            for kind in ('weight', 'bias')
        }
    )
    return layer.double()


@torch.no_grad()
def test_outputs_are_those_of_a_plain_transformer():
    model = small_model().double()
    image = torch.rand(2, 3, 32, 48).double()
    features = model(image)
    tokens = model.patch_embed.proj(image).flatten(2).transpose(1, 2)
    tokens = torch.cat([model.cls_token.expand(2, 1, 24), tokens], dim=1) + model.pos_embed
    for index, block in enumerate(model.blocks):
        tokens = torch_layer(block)(tokens)
        expected = (
            nn.functional.layer_norm(tokens, (24,), model.norm.weight, model.norm.bias, 1e-6)
            if index == 3
            else tokens
        )
        assert_close(features.cls_tokens[index], expected[:, 0])
        assert_close(features.maps[index], expected[:, 1:].transpose(1, 2).reshape(2, 24, 2, 3))
    assert len(features.maps) == len(model.strides) == len(model.out_channels) == 4


def test_vit_l_has_the_keys_and_shapes_of_the_official_checkpoint(reference):
    path = reference / 'baselines' / 'keys.json'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    official = json.loads(path.read_text())['invpt_vitL_nyud_4task']
    expected = [
        (key, shape) for key, shape in official['state_dict'] if key.startswith('backbone.')
    ]
    with torch.device('meta'):
        model = ViT('large', img_size=(448, 576))
    assert [
        (f'backbone.{key}', list(tensor.shape)) for key, tensor in model.state_dict().items()
    ] == expected
    assert (
        sum(p.numel() for p in model.parameters())
        == official['parameter_count_by_child']['backbone']
    )
    assert model.out_indices == (5, 11, 17, 23)


@pytest.mark.parametrize(
    ('arch', 'width', 'parameters'),
    [
        ('tiny', 192, 5_717_416),
        ('small', 384, 22_050_664),
        ('base', 768, 86_567_656),
        ('large', 1024, 304_326_632),
    ],
)
def test_architectures_have_the_published_sizes(arch, width, parameters):
    """The published counts are of classifiers of 1000 classes at 224x224."""
    with torch.device('meta'):
        model = MODELS.build(dict(type='ViT', arch=arch, img_size=224))
    assert sum(p.numel() for p in model.parameters()) + 1000 * (width + 1) == parameters
    assert model.out_channels == (width,) * 4 and model.strides == (16,) * 4


@pytest.mark.parametrize(
    ('depth', 'indices'), [(12, (2, 5, 8, 11)), (4, (0, 1, 2, 3)), (6, (1, 2, 4, 5)), (2, (0, 1))]
)
def test_default_outputs_are_a_quarter_of_the_depth_apart(depth, indices):
    model = ViT(dict(embed_dims=8, depth=depth, num_heads=2), img_size=32)
    assert model.out_indices == indices
    assert len(model(torch.rand(1, 3, 32, 32)).maps) == len(indices)


def test_every_parameter_gets_a_gradient():
    model = small_model(out_indices=(1, 3))
    features = model(torch.rand(1, 3, 48, 32))
    sum(x.square().sum() for x in features.maps + features.cls_tokens).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_position_embedding_keeps_rows_and_columns_apart():
    """A ramp along an axis of a grid that is not square stays one along that axis."""
    for axis, native, grid in ((0, (4, 6), (8, 3)), (1, (6, 4), (3, 8))):
        ramp = torch.arange(4.0).view(-1, 1) if axis == 0 else torch.arange(4.0)
        pos_embed = torch.cat(
            [torch.full((1, 1, 1), 9.0), ramp.expand(native).reshape(1, 24, 1)], dim=1
        )
        resampled = resample_positions(pos_embed, native, grid)
        assert resampled.shape == (1, 25, 1) and resampled[0, 0, 0] == 9
        resampled = resampled[0, 1:, 0].view(grid)
        assert_close(resampled.std(dim=1 - axis), torch.zeros(8), atol=1e-5, rtol=0)
        assert (resampled.mean(dim=1 - axis).diff() > 0).all()
        assert resample_positions(pos_embed, native, native) is pos_embed


def test_starts_from_scratch():
    model = MODELS.build(dict(type='ViT', arch='tiny', img_size=32))
    model.init_weights()
    assert abs(model.blocks[3].mlp.fc1.weight.std().item() - 0.02) < 1e-3
    assert model.blocks[3].mlp.fc1.bias.abs().max() == 0
    assert all(x.isfinite().all() for x in model(torch.rand(1, 3, 32, 64)).maps)


def checkpoint_of(path, img_size, **kwargs):
    """A file as timm's models are saved, with a classifier."""
    state = small_model(img_size=img_size, **kwargs).state_dict()
    torch.save({**state, 'head.weight': torch.zeros(10, 24), 'head.bias': torch.zeros(10)}, path)
    return state, dict(type='Pretrained', checkpoint=str(path))


@pytest.mark.parametrize(('native', 'grid'), [((2, 3), (2, 3)), ((4, 4), (2, 3)), ((4, 4), (2, 8))])
def test_loads_timms_files(tmp_path, native, grid):
    state, init_cfg = checkpoint_of(tmp_path / 'vit.pth', [16 * side for side in native])
    model = ViT(ARCH, img_size=[16 * side for side in grid], init_cfg=init_cfg)
    model.init_weights()
    expected = {**state, 'pos_embed': resample_positions(state['pos_embed'], native, grid)}
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[key]), key


def test_files_that_do_not_fit_are_refused(tmp_path):
    _, oblong = checkpoint_of(tmp_path / 'oblong.pth', (32, 48))
    with pytest.raises(
        ValueError, match=r'6 patches, which is no square and not the 4x4 .*img_size'
    ):
        ViT(ARCH, img_size=64, init_cfg=oblong).init_weights()
    with pytest.raises(ValueError, match=r'differ in depth: change model\.backbone\.arch'):
        ViT(dict(ARCH, depth=3), img_size=(32, 48), init_cfg=oblong).init_weights()
    with pytest.raises(FileNotFoundError, match=r'model\.backbone\.init_cfg\.checkpoint'):
        ViT(
            ARCH, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'none.pth'))
        ).init_weights()


def test_exports():
    class Maps(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = small_model()

        def forward(self, image):
            return self.backbone(image).maps

    model, image = Maps().eval(), torch.rand(1, 3, 48, 32)
    for a, b in zip(
        torch.export.export(model, (image,)).module()(image), model(image), strict=True
    ):
        assert_close(a, b)


@pytest.mark.parametrize('size', [(30, 48), (32, 40)])
def test_image_size_not_a_multiple_of_16(size):
    with pytest.raises(
        ValueError, match=rf'{size[0]}x{size[1]}.*data_preprocessor\.size_divisor=16'
    ):
        small_model()(torch.rand(1, 3, *size))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(arch='huge'), r"arch must be one of .*'large'.* got 'huge'"),
        (dict(arch=dict(embed_dims=24, depth=2)), 'must have embed_dims, depth and num_heads'),
        (dict(arch=dict(ARCH, num_heads=5)), 'num_heads=5 must divide embed_dims=24'),
        (dict(out_indices=(0, 2)), r'the last one 3, .*got \(0, 2\)'),
        (dict(out_indices=(3, 1, 3)), 'ascending'),
        (dict(out_indices=()), 'ascending'),
        (dict(img_size=(32, 40)), r'multiple of 16.*got \(32, 40\)'),
        (dict(img_size=0), 'multiple of 16'),
        (dict(init_cfg=dict(type='Normal', std=1)), 'init_cfg must be None'),
    ],
)
def test_wrong_arguments_are_refused_when_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        ViT(**{**dict(arch=ARCH, img_size=32), **arguments})
