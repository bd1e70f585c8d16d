"""Units and frozen stages of the vision transformers."""

import logging

import pytest
import torch
from torch import nn

from m2h_mm.models.backbones import DINOv2, DINOv3, ViT

ARCH = dict(embed_dims=24, depth=4, num_heads=2)
EMBEDDING = ('cls_token', 'pos_embed', 'register_tokens', 'patch_embed.')
BACKBONES = {
    'dinov2': lambda **options: DINOv2(
        arch=ARCH, out_indices=(0, 3), img_size=56, final_norm=True, num_registers=2, **options
    ),
    'dinov3': lambda **options: DINOv3(
        arch=ARCH, out_indices=(0, 3), final_norm=True, rope_rescale=None, **options
    ),
    'vit': lambda **options: ViT(arch=ARCH, out_indices=(0, 3), img_size=64, **options),
}
SIZE = {'dinov2': (28, 42), 'dinov3': (32, 48), 'vit': (32, 48)}


@pytest.mark.parametrize('name', BACKBONES)
def test_the_blocks_are_the_units(name):
    backbone = BACKBONES[name]()
    assert list(backbone.units()) == list(backbone.blocks) and len(backbone.units()) == 4


@pytest.mark.parametrize('stages', [-1, 0, 2, 4])
@pytest.mark.parametrize('name', BACKBONES)
def test_frozen_stages_are_the_embedding_and_the_first_blocks(name, stages):
    backbone = BACKBONES[name](frozen_stages=stages)
    frozen = EMBEDDING if stages >= 0 else ()
    frozen += tuple(f'blocks.{index}.' for index in range(stages))
    backbone.train()
    image = torch.rand(1, 3, *SIZE[name])
    sum(map.square().sum() for map in backbone(image).maps).backward()
    for key, parameter in backbone.named_parameters():
        expected = not key.startswith(frozen) and key != 'mask_token'
        assert parameter.requires_grad == expected, key
        assert (parameter.grad is not None) == expected, key
    assert [block.training for block in backbone.blocks] == [index >= stages for index in range(4)]
    assert backbone.patch_embed.training == (stages < 0)
    assert not any(module.training for module in backbone.eval().modules())


@pytest.mark.parametrize('name', BACKBONES)
def test_frozen_stages_change_no_number_and_no_key(name):
    free, frozen = BACKBONES[name](), BACKBONES[name](frozen_stages=2)
    assert free.state_dict().keys() == frozen.state_dict().keys()
    frozen.load_state_dict(free.state_dict())
    image = torch.rand(1, 3, *SIZE[name])
    for one, other in zip(free(image).maps, frozen(image).maps, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize('stages', [5, -2, True])
@pytest.mark.parametrize('name', BACKBONES)
def test_a_wrong_number_is_refused_and_the_way_out_named(name, stages):
    with pytest.raises(
        ValueError, match=rf'frozen_stages must be .* up to 4, got {stages}.*model\.freeze_backbone'
    ):
        BACKBONES[name](frozen_stages=stages)


def test_registers_are_handed_on():
    backbone = BACKBONES['dinov2']().eval()
    features = backbone(torch.rand(2, 3, 28, 42))
    assert [tokens.shape for tokens in features.register_tokens] == [(2, 2, 24)] * 2
    tokens = torch.cat(
        [
            features.cls_tokens[1][:, None],
            features.register_tokens[1],
            features.maps[1].flatten(2).transpose(1, 2),
        ],
        dim=1,
    )
    # Together they are the whole sequence of the last block, which the norm is applied to.
    torch.testing.assert_close(tokens.mean(dim=2), torch.zeros(2, 9), rtol=0, atol=1e-5)
    nn.init.constant_(backbone.norm.weight, 0.0)
    assert not backbone(torch.rand(2, 3, 28, 42)).register_tokens[1].any()
    assert BACKBONES['vit']()(torch.rand(1, 3, 32, 48)).register_tokens is None


def test_frozen_random_weights_are_announced(messages):
    BACKBONES['vit'](frozen_stages=0).init_weights()
    assert any('frozen_stages=0' in m and 'load_from' in m for m in messages(logging.WARNING))
