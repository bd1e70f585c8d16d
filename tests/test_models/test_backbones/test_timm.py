"""Networks of timm by name, with or without torchvision."""

import logging
import sys
from importlib.util import find_spec

import pytest
import torch
from wrapped_networks import MapsOf

from m2h_mm.models.backbones import TimmBackbone
from m2h_mm.models.backbones.timm_library import import_timm

pytestmark = pytest.mark.skipif(
    find_spec('timm') is None, reason='timm is not installed: pip install --no-deps timm'
)
CONVNEXT = dict(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16))
VIT = dict(depth=4, embed_dim=24, num_heads=3)


@pytest.fixture(scope='module')
def convnext():
    torch.manual_seed(0)
    return TimmBackbone('convnext_atto', CONVNEXT).eval()


def test_a_pyramid(convnext):
    assert (convnext.out_channels, convnext.strides) == ((8, 8, 16, 16), (4, 8, 16, 32))
    maps = convnext(torch.randn(1, 3, 64, 96)).maps
    assert [tuple(level.shape[2:]) for level in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert not convnext.unused and convnext.size_divisor == 32
    with pytest.raises(ValueError, match='size_divisor=32'):
        convnext(torch.randn(1, 3, 64, 80))
    # What lies behind the last level is not built.
    assert len(TimmBackbone('convnext_atto', CONVNEXT, out_indices=(0, 1)).units()) == 2


def test_a_plain_transformer_yields_class_and_register_tokens():
    vit = TimmBackbone('vit_small_patch16_dinov3', VIT, out_indices=(1, 3), frozen_stages=1)
    image = torch.randn(2, 3, 48, 32)
    outputs = []
    for block in vit.units():
        block.register_forward_hook(lambda *call: outputs.append(call[-1]))
    features = vit(image)
    assert (vit.out_channels, vit.strides, vit.size_divisor) == ((24, 24), (16, 16), 16)
    for level, block in enumerate((1, 3)):
        tokens = outputs[block]
        torch.testing.assert_close(features.cls_tokens[level], tokens[:, 0])
        torch.testing.assert_close(features.register_tokens[level], tokens[:, 1:5])
        torch.testing.assert_close(features.maps[level][..., 2, 0], tokens[:, 5 + 4])
    # The embedding and the first block are frozen: no graph is built in them.
    assert not outputs[0].requires_grad and outputs[1].requires_grad
    assert not vit.model.cls_token.requires_grad
    vit.train()
    assert [block.training for block in vit.units()] == [False, True, True, True]


def test_an_image_of_another_size_than_that_of_the_weights():
    vit = TimmBackbone('vit_tiny_patch16_224', VIT, final_norm=True)
    assert vit(torch.randn(1, 3, 32, 48)).maps[0].shape == (1, 24, 2, 3)
    with pytest.raises(ValueError, match='takes images of 224x224'):
        TimmBackbone('deit_tiny_distilled_patch16_224', VIT)


def test_weights_of_a_file_and_of_a_whole_network(convnext, tmp_path, messages):
    whole = import_timm().create_model('convnext_atto', **CONVNEXT)
    whole.load_state_dict(convnext.model.state_dict(), strict=False)
    torch.save(whole.state_dict(), tmp_path / 'pytorch_model.bin')
    image = torch.randn(1, 3, 32, 64)
    for checkpoint in (tmp_path, tmp_path / 'pytorch_model.bin'):
        init_cfg = dict(type='Pretrained', checkpoint=str(checkpoint))
        other = TimmBackbone('convnext_atto', CONVNEXT, init_cfg=init_cfg)
        other.init_weights()
        torch.testing.assert_close(other.eval()(image).maps, convnext(image).maps)
        assert other.normalisation.mean == pytest.approx((123.675, 116.28, 103.53))
    assert not messages(logging.WARNING)
    other = TimmBackbone('convnext_atto', dict(CONVNEXT, dims=(8, 8, 8, 8)), init_cfg=init_cfg)
    with pytest.raises(ValueError, match='does not fit model.backbone'):
        other.init_weights()


def test_positions_of_weights_are_resampled_by_timm(tmp_path):
    whole = import_timm().create_model('vit_tiny_patch16_224', **VIT)
    torch.save(whole.state_dict(), tmp_path / 'vit.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'vit.pth'))
    vit = TimmBackbone('vit_tiny_patch16_224', dict(VIT, img_size=(64, 96)), init_cfg=init_cfg)
    vit.init_weights()
    assert vit.model.pos_embed.shape == (1, 1 + 24, 24)
    torch.testing.assert_close(vit.model.pos_embed[:, 0], whole.pos_embed[:, 0])


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (dict(name='convnext_ato'), "Did you mean 'convnext_atto'"),
        (dict(name='hf-hub:user/model'), 'has no such network'),
        (dict(name='convnext_atto', options=dict(depht=3)), 'refuses them'),
        (dict(name='convnext_atto', options=dict(pretrained=True)), 'init_cfg'),
        (dict(name='convnext_atto', options=CONVNEXT, final_norm=True), 'no plain transformer'),
        (
            dict(
                name='convnext_atto',
                options=CONVNEXT,
                init_cfg=dict(type='Pretrained', checkpoint='nowhere.pth'),
            ),
            'no such file',
        ),
    ],
)
def test_what_cannot_be_is_refused(arguments, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        TimmBackbone(**arguments).init_weights()


def test_no_stand_in_is_left():
    assert not any(name.partition('.')[0] == 'torchvision' for name in sys.modules) or hasattr(
        sys.modules['torchvision'], '__file__'
    )
    assert not any(type(finder).__name__ == '_Finder' for finder in sys.meta_path)


def test_it_can_be_exported(convnext):
    image = torch.randn(1, 3, 64, 32)
    program = torch.export.export(MapsOf(convnext), (image,)).module()
    torch.testing.assert_close(program(image), convnext(image).maps, rtol=1e-4, atol=1e-5)
