"""DINOv2: official numbers, sizes, freezing, input checks."""

import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from m2h_mm.models.backbones import DINOv2
from m2h_mm.models.backbones.position_embedding import (
    interpolate_position_embedding,
    sincos_position_embedding,
)
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

ARCH = dict(embed_dims=48, depth=4, num_heads=3)
VECTORS = {
    'dinov2_tiny': dict(arch=ARCH),
    'dinov2_reg_tiny': dict(arch=ARCH, num_registers=4),
    'dinov2_swiglu_tiny': dict(arch=dict(ARCH, ffn='swiglu')),
}


def small_model(**kwargs) -> DINOv2:
    torch.manual_seed(0)
    settings = dict(
        arch=dict(embed_dims=24, depth=4, num_heads=2), out_indices=(0, 1, 2, 3), img_size=70
    )
    return DINOv2(**{**settings, **kwargs})


def gradients(model: DINOv2, output: Features) -> set[str]:
    (
        sum(m.square().sum() for m in output.maps)
        + sum(c.square().sum() for c in output.cls_tokens)
    ).backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-5), (torch.float32, 1e-4)])
@pytest.mark.parametrize('name', VECTORS)
def test_every_stage_equals_the_official_one(reference, name, dtype, tolerance):
    data = np.load(reference / 'm2h' / f'{name}.npz', allow_pickle=False)
    weights = {key[8:]: torch.from_numpy(data[key]) for key in data if key.startswith('weights/')}
    model = DINOv2(out_indices=range(4), img_size=70, **VECTORS[name])
    assert list(weights) == list(model.state_dict())
    model.load_state_dict(weights)
    model = model.to(dtype).eval()
    normed = DINOv2(out_indices=[3], img_size=70, final_norm=True, **VECTORS[name])
    normed.load_state_dict(weights)
    normed = normed.to(dtype).eval()
    norm_outputs = []
    normed.norm.register_forward_hook(lambda module, args, output: norm_outputs.append(output))

    for name_of_input in 'ab':
        image = torch.from_numpy(data[f'input/{name_of_input}']).to(dtype)
        grid = (image.shape[2] // 14, image.shape[3] // 14)
        norm_outputs.clear()
        with torch.no_grad():
            features, last = model(image), normed(image)
            stages = {
                'pos_embed': interpolate_position_embedding(
                    model.pos_embed, grid, model.interpolate_offset, model.interpolate_antialias
                ),
                'tokens_0': model.embed(image),
                'map_norm_3': last.maps[0],
                'cls_norm_3': last.cls_tokens[0],
                'reg_norm_3': norm_outputs[0][:, 1 : 1 + model.num_registers],
            }
        stages |= {f'map_{i}': m for i, m in enumerate(features.maps)}
        stages |= {f'cls_{i}': c for i, c in enumerate(features.cls_tokens)}
        prefix = f'output/{name_of_input}/'
        stored = {key.removeprefix(prefix) for key in data if key.startswith(prefix)}
        assert stored == {stage for stage in stages if stage != 'reg_norm_3' or model.num_registers}
        for stage in stored:
            expected = torch.from_numpy(data[prefix + stage]).to(dtype)
            assert_close(
                stages[stage], expected, rtol=0, atol=tolerance, msg=lambda m, s=stage: f'{s}: {m}'
            )


def test_real_vit_s_has_the_official_keys_shapes_and_size(reference):
    models = json.loads((reference / 'm2h' / 'state_dict_keys.json').read_text())['models']
    official = models['m2h_vits14_channels256_classes41']
    expected = [(key, shape) for key, shape in official['keys'] if key.startswith('backbone.')]
    with torch.device('meta'):
        model = DINOv2('small')
    assert [
        (f'backbone.{key}', list(tensor.shape)) for key, tensor in model.state_dict().items()
    ] == expected
    assert sum(p.numel() for p in model.parameters()) == official['backbone_params'] == 22_056_576
    assert model.out_indices == (2, 5, 8, 11)


@pytest.mark.parametrize(
    'arch, parameters, out_indices, width',
    [
        ('base', 86_580_480, (2, 5, 8, 11), 768),
        ('large', 304_368_640, (4, 11, 17, 23), 1024),
        ('giant', 1_136_480_768, (9, 19, 29, 39), 1536),
    ],
)
def test_large_architectures(arch, parameters, out_indices, width):
    with torch.device('meta'):
        model = DINOv2(arch)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.out_indices == out_indices
    assert model.out_channels == (width,) * 4
    assert model.strides == (14,) * 4


def test_builds_from_a_config_and_trains_from_scratch():
    model = MODELS.build(dict(type='DINOv2', arch='tiny', img_size=56))
    model.init_weights()
    features = model(torch.rand(2, 3, 28, 56))
    assert [m.shape for m in features.maps] == [(2, 192, 2, 4)] * 4
    assert [c.shape for c in features.cls_tokens] == [(2, 192)] * 4
    assert model.out_channels == (192,) * 4
    assert abs(model.blocks[3].mlp.fc1.weight.std().item() - 0.02) < 1e-3
    assert torch.equal(model.pos_embed, sincos_position_embedding(4, 192))
    assert model.blocks[3].mlp.fc1.bias.abs().max() == 0
    unused = {'mask_token', 'norm.weight', 'norm.bias'}
    assert gradients(model, features) == {name for name, _ in model.named_parameters()} - unused
    assert not any(model.get_parameter(name).requires_grad for name in unused)


def test_blocks_after_the_last_output_wait_for_no_gradient():
    model = small_model(out_indices=(0, 2), final_norm=True)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert gradients(model, model(torch.rand(1, 3, 28, 28))) == trainable
    assert not any(name.startswith('blocks.3.') for name in trainable)
    assert 'norm.weight' in trainable


def test_images_of_a_batch_are_independent():
    model = small_model(num_registers=2).double()
    image = torch.rand(3, 3, 42, 70, dtype=torch.double)
    together, alone = model(image), model(image[1:2])
    for i in range(4):
        assert_close(together.maps[i][1:2], alone.maps[i])
        assert_close(together.cls_tokens[i][1:2], alone.cls_tokens[i])


@pytest.mark.parametrize('offset, antialias', [(0.1, False), (0.0, False), (0.0, True)])
def test_position_embedding_at_its_own_and_at_other_sizes(offset, antialias):
    pos_embed = torch.rand(1, 26, 8)
    assert interpolate_position_embedding(pos_embed, (5, 5), offset, antialias) is pos_embed
    for grid in [(1, 1), (4, 7), (5, 10), (34, 45), (37, 37), (61, 3)]:
        resampled = interpolate_position_embedding(pos_embed, grid, offset, antialias)
        assert resampled.shape == (1, 1 + grid[0] * grid[1], 8)
        assert_close(resampled[:, 0], pos_embed[:, 0])
    # Half the digits of a half-precision embedding would be lost if the resampling ran in it.
    half = interpolate_position_embedding(pos_embed.half(), (4, 7), offset, antialias)
    exact = interpolate_position_embedding(pos_embed.half().float(), (4, 7), offset, antialias)
    assert half.dtype == torch.half
    assert_close(half, exact.half(), rtol=0, atol=0)


def test_rows_and_columns_are_not_mixed_up():
    pos_embed = torch.zeros(1, 26, 1)
    pos_embed[:, 1:] = torch.arange(5.0).repeat_interleave(5).view(1, 25, 1)
    resampled = interpolate_position_embedding(pos_embed, (4, 7))[0, 1:, 0].view(4, 7)
    assert_close(resampled, resampled[:, :1].expand(4, 7))
    assert (resampled.diff(dim=0) > 0.5).all()


def test_interpolation_follows_the_official_weights_unless_told():
    assert (small_model().interpolate_offset, small_model().interpolate_antialias) == (0.1, False)
    registers = small_model(num_registers=4)
    assert (registers.interpolate_offset, registers.interpolate_antialias) == (0.0, True)
    told = small_model(num_registers=4, interpolate_offset=0.2, interpolate_antialias=False)
    assert (told.interpolate_offset, told.interpolate_antialias) == (0.2, False)


def test_partly_frozen_trains_the_rest_only():
    model = small_model(frozen_stages=2, drop_path_rate=0.5, num_registers=1)
    model.train()
    assert [block.training for block in model.blocks] == [False, False, True, True]
    assert not any(module.training for block in model.blocks[:2] for module in block.modules())
    assert model.training
    features = model(torch.rand(2, 3, 28, 42, requires_grad=True))
    assert [m.requires_grad for m in features.maps] == [False, False, True, True]
    expected = {
        name for name, _ in model.named_parameters() if name.startswith(('blocks.2.', 'blocks.3.'))
    }
    assert gradients(model, features) == expected
    assert {name for name, p in model.named_parameters() if p.requires_grad} == expected
    model.eval()
    assert not any(module.training for module in model.modules())


def test_partly_frozen_gives_the_same_numbers():
    image = torch.rand(1, 3, 42, 28)
    free, partly = small_model(), small_model(frozen_stages=3)
    for a, b in zip(free(image).maps, partly(image).maps, strict=True):
        assert_close(a, b)


def test_drop_path_acts_in_training_only():
    model = small_model(drop_path_rate=0.9)
    image = torch.rand(4, 3, 28, 28)
    trained = {model(image).maps[-1].sum().item() for _ in range(5)}
    assert len(trained) > 1
    model.eval()
    assert len({model(image).maps[-1].sum().item() for _ in range(3)}) == 1


def test_autocast_and_half_precision_stay_close():
    model = small_model(num_registers=2).eval()
    image = torch.rand(1, 3, 42, 28)
    exact = model(image).maps[-1]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert_close(model(image).maps[-1].float(), exact, rtol=0, atol=0.1)
    assert_close(model.bfloat16()(image.bfloat16()).maps[-1].float(), exact, rtol=0, atol=0.1)


def test_exports():
    model = small_model(frozen_stages=4, num_registers=1)
    image = torch.rand(1, 3, 42, 28)

    class Maps(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = model

        def forward(self, x):
            return self.backbone(x).maps

    exported = torch.export.export(Maps().eval(), (image,))
    for a, b in zip(exported.module()(image), model(image).maps, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize('size', [(60, 70), (70, 60), (7, 14)])
def test_image_size_not_a_multiple_of_14(size):
    with pytest.raises(
        ValueError, match=rf'{size[0]}x{size[1]}.*data_preprocessor\.size_divisor=14'
    ):
        small_model()(torch.rand(1, 3, *size))


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(arch='huge'), r"model\.backbone\.arch must be one of .*'small'.* got 'huge'"),
        (dict(arch=dict(embed_dims=24, depth=2)), 'must have embed_dims, depth, num_heads'),
        (dict(arch=dict(ARCH, heads=3)), 'may have ffn, mlp_ratio'),
        (dict(arch=dict(ARCH, ffn='relu')), "must be one of .*'swiglu'.*got 'relu'"),
        (dict(arch=dict(ARCH, num_heads=5)), 'num_heads=5 must divide embed_dims=48'),
        (dict(arch=ARCH, out_indices=None), r'out_indices must be .* 0 to 3'),
        (
            dict(out_indices=(1, 4)),
            r'out_indices must be ascending block numbers from 0 to 3, got '
            r'\(1, 4\)',
        ),
        (dict(out_indices=(3, 1)), 'ascending'),
        (dict(out_indices=(-1,)), 'ascending'),
        (dict(img_size=224 + 1), 'img_size must be a multiple of 14, got 225'),
        (dict(frozen_stages=5), r'frozen_stages must be .* up to 4, got 5.*model\.freeze_backbone'),
        (dict(frozen_stages=-2), 'frozen_stages must be -1'),
        (dict(frozen_stages=True), 'got True'),
        (
            dict(init_cfg=dict(type='Pretrained')),
            r'init_cfg must be None .* or '
            r"dict\(type='Pretrained', checkpoint=",
        ),
        (dict(init_cfg=dict(type='Normal', std=1)), 'init_cfg must be None'),
        (
            dict(init_cfg=dict(type='Pretrained', checkpoint='a', prefix='b')),
            'init_cfg must be None',
        ),
    ],
)
def test_wrong_arguments_are_refused_when_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)


def test_a_stem_keeps_the_grid_and_freezes_with_the_patches():
    arch = dict(embed_dims=24, depth=2, num_heads=3, stem_channels=(4, 8))
    model = MODELS.build(
        dict(type='DINOv2', arch=arch, out_indices=(1,), img_size=56, frozen_stages=1)
    )
    assert model.patch_embed.proj.weight.shape == (24, 8, 7, 7)
    model.train()
    running = model.patch_embed.stem[1].running_mean.clone()
    assert model(torch.randn(2, 3, 42, 56)).maps[0].shape == (2, 24, 3, 4)
    assert torch.equal(model.patch_embed.stem[1].running_mean, running)
    assert not any(parameter.requires_grad for parameter in model.patch_embed.parameters())


def test_a_scratch_position_embedding_tells_every_patch_apart():
    embedding = sincos_position_embedding(6, 18)
    assert embedding.shape == (1, 37, 18) and not embedding[0, 0].any()
    distances = torch.cdist(embedding[0, 1:], embedding[0, 1:]) + 9 * torch.eye(36)
    assert distances.min() > 0.1
    near, far = distances[0, 1], distances[0, 35]  # the next patch, the opposite corner
    assert near < far
