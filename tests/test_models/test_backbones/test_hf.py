"""Networks of transformers by name: what they yield, their weights, and that nothing is fetched."""

import logging
from importlib.util import find_spec

import pytest
import torch
from wrapped_networks import MapsOf, from_checkpoint

from m2h_mm.models.backbones import HFBackbone
from m2h_mm.models.backbones.hf_architecture import read_normalisation
from m2h_mm.models.backbones.wrapped_backbone import Normalisation

pytestmark = pytest.mark.skipif(
    find_spec('transformers') is None, reason='transformers is not installed'
)
DINOV3 = dict(
    hidden_size=24,
    num_hidden_layers=4,
    num_attention_heads=3,
    intermediate_size=48,
    num_register_tokens=2,
)
SWIN = dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=4)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError('a connection was asked for')

    monkeypatch.setattr('socket.socket.connect', refuse)
    monkeypatch.setattr('socket.getaddrinfo', refuse)


@pytest.fixture(scope='module')
def dinov3():
    torch.manual_seed(0)
    return HFBackbone('dinov3_vit', DINOV3, out_indices=(1, 3)).eval()


@pytest.fixture(scope='module')
def folder(dinov3, tmp_path_factory):
    path = tmp_path_factory.mktemp('dinov3')
    dinov3.model.save_pretrained(path)
    (path / 'preprocessor_config.json').write_text(
        '{"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}'
    )
    return path


def test_a_plain_transformer_yields_the_tokens_of_its_blocks(dinov3):
    image = torch.randn(2, 3, 48, 32)
    outputs = []
    hooks = [
        block.register_forward_hook(lambda *call: outputs.append(call[-1]))
        for block in dinov3.units()
    ]
    with torch.no_grad():
        features = dinov3(image)
    for hook in hooks:
        hook.remove()
    assert (dinov3.out_channels, dinov3.strides) == ((24, 24), (16, 16))
    assert dinov3.size_divisor == 16 and len(outputs) == 4
    for level, block in enumerate((1, 3)):
        tokens = outputs[block]
        torch.testing.assert_close(features.cls_tokens[level], tokens[:, 0])
        torch.testing.assert_close(features.register_tokens[level], tokens[:, 1:3])
        # Row by row: the patch in the last row and the first column.
        torch.testing.assert_close(features.maps[level][..., 2, 0], tokens[:, 3 + 4])


def test_what_no_output_depends_on_waits_for_no_gradient(dinov3):
    assert dinov3.unused == {'embeddings.mask_token', 'norm.weight', 'norm.bias'}
    named = dict(dinov3.model.named_parameters())
    assert {name for name, value in named.items() if not value.requires_grad} == dinov3.unused
    # The final norm is used if it is asked for; blocks behind the last one are not built.
    other = HFBackbone('dinov3_vit', DINOV3, out_indices=(0, 2), final_norm=True)
    assert other.unused == {'embeddings.mask_token'} and len(other.units()) == 3


def test_a_pyramid():
    swin = HFBackbone('swin', SWIN, frozen_stages=1)
    assert (swin.out_channels, swin.strides) == ((8, 16, 32, 64), (4, 8, 16, 32))
    maps = swin(torch.randn(1, 3, 64, 96)).maps
    assert [tuple(level.shape[2:]) for level in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    trained = {name for name, value in swin.named_parameters() if value.requires_grad}
    assert {'0', '1', '2', '3'} - {name.split('.')[4] for name in trained if 'layers' in name} == {
        '0'
    }
    assert not any('embeddings' in name for name in trained)
    assert not swin.train().units()[0].training and swin.units()[1].training
    with pytest.raises(ValueError, match='size_divisor=32'):
        swin(torch.randn(1, 3, 64, 80))


def test_weights_of_a_folder_and_of_its_file(dinov3, folder, messages):
    for checkpoint in (folder, folder / 'model.safetensors'):
        init_cfg = dict(type='Pretrained', checkpoint=str(checkpoint))
        other = HFBackbone('dinov3_vit', DINOV3, out_indices=(1, 3), init_cfg=init_cfg)
        other.init_weights()
        image = torch.randn(1, 3, 32, 32)
        torch.testing.assert_close(other.eval()(image).maps, dinov3(image).maps)
        assert other.normalisation == Normalisation((0,) * 3, (255,) * 3)
    assert not messages(logging.WARNING)


def test_weights_of_another_network_are_refused(folder):
    init_cfg = dict(type='Pretrained', checkpoint=str(folder))
    # As many weights, of the same shapes.
    backbone = HFBackbone('dinov3_vit', dict(DINOV3, num_attention_heads=2), init_cfg=init_cfg)
    with pytest.raises(ValueError, match='num_attention_heads: 2 in the config, 3 in the weights'):
        backbone.init_weights()
    with pytest.raises(ValueError, match="Set model.backbone.name='dinov3_vit'"):
        HFBackbone('swin', SWIN, init_cfg=init_cfg).init_weights()
    file = dict(type='Pretrained', checkpoint=str(folder / 'model.safetensors'))
    with pytest.raises(ValueError, match='does not fit model.backbone'):
        HFBackbone('dinov3_vit', dict(DINOV3, intermediate_size=24), init_cfg=file).init_weights()


def test_the_layer_behind_the_class_token_is_left_out(tmp_path):
    options = dict(hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=12)
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path))
    vit = HFBackbone('vit', options, init_cfg=init_cfg).eval()
    whole = type(vit.model)(vit.model.config)
    whole.save_pretrained(tmp_path)
    vit.init_weights()
    assert not any('pooler' in name for name in vit.state_dict())
    image = torch.randn(1, 3, 32, 32)  # not the size of the weights
    tokens = whole.eval()(image, interpolate_pos_encoding=True, output_hidden_states=True)
    torch.testing.assert_close(vit(image).cls_tokens[0], tokens.hidden_states[1][:, 0])


def test_a_checkpoint_describes_the_network_without_its_folder(dinov3, folder, tmp_path):
    part = dict(type='HFBackbone', name=str(folder), out_indices=(1, 3))
    again = from_checkpoint(dict(part, init_cfg=None), dinov3, tmp_path)
    assert again.name == 'dinov3_vit' and again.state_dict().keys() == dinov3.state_dict().keys()
    image = torch.randn(1, 3, 32, 48)
    torch.testing.assert_close(again(image).maps, dinov3(image).maps, rtol=0, atol=0)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (dict(name='swim'), "Did you mean 'swin'"),
        (dict(name='user/nothing'), 'hf download user/nothing'),
        (dict(name='swin', options=dict(embed_dims=8)), "Did you mean 'embed_dim'"),
        # It would fetch code from the hub.
        (dict(name='vit', options=dict(attn_implementation='a/b')), "no 'attn_implementation'"),
        (dict(name='swin', options=dict(embed_dim='wide')), 'refuses them'),
        (dict(name='swin', options=SWIN, final_norm=True), 'no plain transformer'),
        (dict(name='swin', options=SWIN, out_indices=(0, 4)), 'ascending level numbers'),
    ],
)
def test_what_cannot_be_is_refused(arguments, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        HFBackbone(**arguments)


def test_what_a_processor_says_is_in_0_to_255(tmp_path):
    assert read_normalisation(str(tmp_path), fetch=False) is None
    (tmp_path / 'preprocessor_config.json').write_text(
        '{"do_normalize": false, "do_rescale": true, "rescale_factor": 0.00392156862745098}'
    )
    mean, std = read_normalisation(str(tmp_path), fetch=False)
    assert mean == (0, 0, 0) and std == pytest.approx((255,) * 3)


def test_it_can_be_exported(dinov3):
    image = torch.randn(1, 3, 32, 48)
    program = torch.export.export(MapsOf(dinov3), (image,)).module()
    torch.testing.assert_close(program(image), dinov3(image).maps, rtol=1e-4, atol=1e-5)
