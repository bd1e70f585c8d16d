"""DINOv3: weights of either publisher, and what is said when they do not fit."""

import logging

import numpy as np
import pytest
import torch
from dinov3_layouts import as_the_authors
from torch import Tensor
from torch.testing import assert_close

from m2h_mm.models.backbones import DINOv2, DINOv3
from m2h_mm.models.backbones.dinov3_checkpoint import OFFICIAL_FILES, our_keys

KEY = r'model\.backbone\.init_cfg\.checkpoint'
ARCH = dict(embed_dims=32, depth=4, num_heads=2)
GATED = dict(ARCH, ffn='swiglu', mlp_ratio=3, qkv_bias=False)


def small_model(path=None, arch=ARCH, **kwargs) -> DINOv3:
    init_cfg = path and dict(type='Pretrained', checkpoint=str(path))
    return DINOv3(arch, **{'out_indices': range(4), **kwargs}, init_cfg=init_cfg)


def published(reference, name: str = 'dinov3_tiny') -> dict[str, Tensor]:
    """Random weights under the names of Hugging Face."""
    data = np.load(reference / 'm2h_mx' / f'{name}.npz', allow_pickle=False)
    return {key[8:]: torch.from_numpy(data[key]) for key in data if key.startswith('weights/')}


@pytest.fixture
def hugging_face(reference) -> dict[str, Tensor]:
    return published(reference)


@pytest.fixture
def authors(hugging_face) -> dict[str, Tensor]:
    return as_the_authors(hugging_face, num_heads=2)


@pytest.fixture
def file(tmp_path):
    """``file(state)``: the path of a file that holds it."""

    def write(state: dict) -> str:
        torch.save(state, tmp_path / 'dinov3.pth')
        return str(tmp_path / 'dinov3.pth')

    return write


def behind(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


WRAPS = {
    'as it is': lambda state: state,
    'teacher': lambda state: {'teacher': behind('backbone.', state)},
    'with a decoder': lambda state: {
        'state_dict': behind('backbone.', state) | {'neck.norm.weight': torch.zeros(2)}
    },
    'in M2H-MX': lambda state: behind('hfa_adapter.backbone.', state),
}
FORMS = {
    'hugging face': lambda state: state,
    # As transformers 5.4 and later name them in memory.
    'in memory': lambda state: {
        name.replace('layer.', 'model.layer.'): value for name, value in state.items()
    },
    'authors': lambda state: as_the_authors(state, num_heads=2),
    'ours': lambda state: our_keys(state, ''),
}


@pytest.mark.parametrize(
    ('form', 'wrap'),
    [
        *((form, 'as it is') for form in FORMS),
        ('authors', 'teacher'),
        ('ours', 'with a decoder'),
        ('hugging face', 'in M2H-MX'),
    ],
)
def test_every_form_of_the_same_weights(hugging_face, file, messages, form, wrap):
    model = small_model(file(WRAPS[wrap](FORMS[form](hugging_face))), frozen_stages=4)
    model.init_weights()
    for name, value in our_keys(hugging_face, '').items():
        assert_close(model.state_dict()[name], value, rtol=0, atol=0)
    assert model.is_init and messages(logging.WARNING) == []


@pytest.mark.parametrize('form', FORMS)
def test_gated_models_without_biases(reference, file, form):
    state = published(reference, 'dinov3_gated_tiny')
    model = small_model(file(FORMS[form](state)), GATED)
    model.init_weights()
    layers = model.blocks[2].mlp.w12.weight.chunk(2)
    for layer, name in zip(layers, ('gate_proj', 'up_proj'), strict=True):
        assert torch.equal(layer, state[f'layer.2.mlp.{name}.weight'])
    assert torch.equal(model.blocks[2].mlp.w3.bias, state['layer.2.mlp.down_proj.bias'])


def test_what_has_no_effect_may_be_absent_or_left_over(authors, file, messages):
    del authors['mask_token'], authors['norm.bias']
    authors |= {'local_cls_norm.weight': torch.ones(32), 'head.weight': torch.ones(3)}
    small_model(file(authors)).init_weights()
    absent, left_over = messages(logging.WARNING)
    assert 'missing' in absent and 'mask_token, norm.bias' in absent
    assert 'not used: head.weight' in left_over
    with pytest.raises(ValueError, match=rf'{KEY}: .*lacks parameters .*norm\.bias'):
        small_model(file(authors), final_norm=True).init_weights()


@pytest.mark.parametrize(
    ('config', 'differs', 'key'),
    [
        (dict(arch=dict(ARCH, embed_dims=64)), 'embed_dims 32.*config: embed_dims 64', 'arch'),
        (dict(arch=dict(ARCH, depth=5)), 'depth 4.*config: .*depth 5', 'arch'),
        (dict(arch=dict(ARCH, ffn='swiglu')), 'ffn mlp.*config: .*ffn swiglu', 'arch'),
        (dict(arch=dict(ARCH, qkv_bias=False)), 'queries yes.*config: .*queries no', 'arch'),
        (dict(num_registers=0), 'registers 4.*config: .*registers 0', 'num_registers'),
        (dict(in_channels=4), 'channels 3.*config: .*channels 4', 'in_channels'),
        (
            dict(arch=dict(ARCH, mlp_ratio=2)),
            r'fc1\.weight \(128, 32\) \(expected \(64, 32\)\)',
            '',
        ),
    ],
)
def test_another_architecture_names_both_sides(hugging_face, file, config, differs, key):
    with pytest.raises(ValueError, match=rf'(?s){KEY}: .*dinov3\.pth.*{differs}.*{key}'):
        small_model(file(hugging_face), **config).init_weights()


@pytest.mark.parametrize('config', [dict(rope_base=10.0), dict(arch=dict(ARCH, num_heads=4))])
def test_another_rotation_is_refused(authors, file, config):
    """Nothing else in a file says how many heads there are."""
    path = file(authors)
    with pytest.raises(ValueError, match=r'4 \(1, 3\.162, 10, \.\.\.\).*rope_base.*num_heads'):
        small_model(path, **config).init_weights()


def test_a_bias_of_the_keys_is_refused_unless_masked(hugging_face, authors, file):
    hugging_face['layer.3.attention.k_proj.bias'] = torch.ones(32)
    with pytest.raises(ValueError, match=r'blocks\.3\.attn\.k_proj\.bias has a bias for the keys'):
        small_model(file(hugging_face)).init_weights()
    del authors['blocks.1.attn.qkv.bias_mask']
    with pytest.raises(ValueError, match=r'blocks\.1\.attn\.qkv\.bias has a bias for the keys'):
        small_model(file(authors)).init_weights()
    authors['blocks.1.attn.qkv.bias'][32:64] = 0
    small_model(file(authors)).init_weights()
    authors['blocks.2.attn.qkv.bias'] = torch.zeros(7)
    with pytest.raises(ValueError, match=r'blocks\.2\.attn\.qkv\.bias has the shape \(7,\)'):
        small_model(file(authors)).init_weights()


def test_another_model_is_named(authors, file):
    dinov2 = DINOv2(ARCH, (0,), img_size=28)
    with pytest.raises(ValueError, match=rf'{KEY}: .* is not a DINOv3: .*position embedding'):
        small_model(file(dinov2.state_dict())).init_weights()
    with pytest.raises(ValueError, match=r'is not a DINOv3: .*found conv1\.weight'):
        small_model(file({'conv1.weight': torch.zeros(1)})).init_weights()
    dinov2.init_cfg = dict(type='Pretrained', checkpoint=file(authors))
    with pytest.raises(ValueError, match=r"DINOv3's: set model\.backbone\.type='DINOv3'"):
        dinov2.init_weights()


def test_official_is_a_file_that_one_puts_there(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    init_cfg = dict(type='Pretrained', checkpoint='official')
    with torch.device('meta'):
        model, tiny = (DINOv3(arch, init_cfg=init_cfg) for arch in ('small_plus', 'tiny'))
    file = r'dinov3_vits16plus_pretrain_lvd1689m-4057cbaa\.pth'
    message = rf'(?s){KEY}=.*{file}.*--cfg-options.*licence at https.*{file} into {tmp_path}'
    with pytest.raises(FileNotFoundError, match=message) as raised:
        model.init_weights()
    assert 'facebook/dinov3-vits16plus-pretrain-lvd1689m' in str(raised.value)
    assert len({name for names in OFFICIAL_FILES.values() for name in names}) == 12
    with pytest.raises(ValueError, match=rf"{KEY}='official': .* arch='tiny'.*huge_plus"):
        tiny.init_weights()


@pytest.mark.parametrize('gated', [False, True])
def test_hugging_faces_own_network_computes_the_same(tmp_path, gated):
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    theirs = transformers.DINOv3ViTModel(
        transformers.DINOv3ViTConfig(
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=64 if gated else 128,
            use_gated_mlp=gated,
            hidden_act='silu' if gated else 'gelu',
            query_bias=not gated,
            value_bias=not gated,
            num_register_tokens=4,
            layerscale_value=0.7,
        )
    ).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    ours = small_model(tmp_path / 'model.safetensors', GATED if gated else ARCH, final_norm='last')
    ours.init_weights()
    image = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected = theirs(image).last_hidden_state
        found = ours.eval()(image)
    assert_close(found.cls_tokens[3], expected[:, 0], rtol=1e-4, atol=1e-4)
    assert_close(found.register_tokens[3], expected[:, 1:5], rtol=1e-4, atol=1e-4)
    patches = found.maps[3].flatten(2).transpose(1, 2)
    assert_close(patches, expected[:, 5:], rtol=1e-4, atol=1e-4)
