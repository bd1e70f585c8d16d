"""DINOv3: official numbers, sizes, freezing, what is drawn in training, input checks."""

import json

import numpy as np
import pytest
import torch
from fidelity import TOLERANCES
from torch import Tensor, nn
from torch.testing import assert_close

from m2h_mm.models.backbones import DINOv3
from m2h_mm.models.backbones.dinov3_checkpoint import our_keys
from m2h_mm.models.backbones.rotary_embedding import rotate
from m2h_mm.models.optimize import optimize
from m2h_mm.models.optimize.feed_forward import FastMLP
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

ARCH = dict(embed_dims=24, depth=4, num_heads=2)
VECTORS = {
    'dinov3_tiny': dict(embed_dims=32, depth=4, num_heads=2),
    'dinov3_gated_tiny': dict(
        embed_dims=32, depth=4, num_heads=2, ffn='swiglu', mlp_ratio=3, qkv_bias=False
    ),
}
NAMES = dict(
    small='vits16',
    small_plus='vits16plus',
    base='vitb16',
    large='vitl16',
    huge_plus='vith16plus',
)
NAMES['7b'] = 'vit7b16'


def small_model(**kwargs) -> DINOv3:
    torch.manual_seed(0)
    return DINOv3(**{**dict(arch=ARCH, out_indices=(0, 1, 2, 3)), **kwargs})


def tokens_of(features: Features, level: int) -> Tensor:
    """The sequence that the features were cut from."""
    return torch.cat(
        [
            features.cls_tokens[level][:, None],
            features.register_tokens[level],
            features.maps[level].flatten(2).transpose(1, 2),
        ],
        dim=1,
    )


@pytest.fixture(params=VECTORS)
def official(request, reference):
    """The arrays, and the model with the official weights, as a function of its arguments."""
    data = np.load(reference / 'm2h_mx' / f'{request.param}.npz', allow_pickle=False)
    arrays = {key: torch.from_numpy(data[key]) for key in data}
    weights = {key[8:]: value for key, value in arrays.items() if key.startswith('weights/')}

    def build(**kwargs) -> DINOv3:
        model = DINOv3(VECTORS[request.param], range(4), **kwargs)
        model.load_state_dict(our_keys(weights, request.param))
        return model.eval()

    return arrays, build


def inside_block_0(model: DINOv3, image: Tensor, cos: Tensor, sin: Tensor) -> dict[str, Tensor]:
    """What the layers of the first block return."""
    block, found = model.blocks[0], {}
    layers = {
        'norm1': block.norm1,
        'q_proj': block.attn.q_proj,
        'k_proj': block.attn.k_proj,
        'v_proj': block.attn.v_proj,
        'o_proj': block.attn,
        'norm2': block.norm2,
        'mlp': block.mlp,
    }
    for name, layer in layers.items():
        layer.register_forward_hook(
            lambda _, inputs, output, name=name: found.__setitem__(name, output)
        )
    block(model.embed(image), cos, sin)
    for name, scale, branch in (('scaled1', block.ls1, 'o_proj'), ('scaled2', block.ls2, 'mlp')):
        found[name] = scale(torch.zeros_like(found[branch]), found[branch])
    for name in 'qk':
        heads = found[f'{name}_proj'].unflatten(2, (2, 16)).transpose(1, 2)
        found[f'{name}_rotated'] = rotate(heads, cos, sin)
    return found


@torch.no_grad()
@pytest.mark.parametrize('dtype', TOLERANCES)
def test_every_stage_equals_the_official_one(official, dtype):
    arrays, build = official
    model, normed = build().to(dtype), build(final_norm=True).to(dtype)
    checked = set()
    for name in 'abc':
        # The official code leaves out what is beyond multiples of 16; ours refuses it.
        image = arrays[f'input/{name}'].to(dtype)
        image = image[:, :, : image.shape[2] // 16 * 16, : image.shape[3] // 16 * 16]
        features, last = model(image), normed(image)
        stages = {f'tokens_{index + 1}': tokens_of(features, index) for index in range(4)}
        stages |= dict(tokens_0=model.embed(image), norm=tokens_of(last, 3))
        cos, sin = model.rope((image.shape[2] // 16, image.shape[3] // 16), 5, image.device)
        stages |= {
            f'rope_{part}': table[5:].repeat(1, 2) for part, table in dict(cos=cos, sin=sin).items()
        }
        inside = inside_block_0(build().to(dtype), image, cos, sin)
        stages |= {f'block0/{stage}': value for stage, value in inside.items()}
        if name == 'a':
            tokens, mask = model.embed(image), arrays['input/a_mask']
            tokens[:, 5:][mask] = model.mask_token
            for block in model.blocks:
                tokens = block(tokens, cos, sin)
            stages['masked'] = model.norm(tokens)
        for stage, value in stages.items():
            key = 'output/a_masked/norm' if stage == 'masked' else f'output/{name}/{stage}'
            if key in arrays:
                tolerance = TOLERANCES[torch.float32 if 'rope' in stage else dtype]
                assert_close(
                    value,
                    arrays[key].to(value.dtype),
                    **tolerance,
                    msg=lambda m, k=key: f'{k}: {m}',
                )
                checked.add(key)
    assert checked == {key for key in arrays if key.startswith('output/')}


@pytest.mark.parametrize('name', NAMES)
def test_real_models_have_the_official_parameters(name, reference):
    path = reference / 'm2h_mx' / 'm2h_mx_keys.json'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    listed = json.loads(path.read_text())['dinov3'][NAMES[name]]
    keys = dict(listed['keys_outside'])
    for index in range(listed['depth']):
        keys |= {
            key.replace('layer.0.', f'layer.{index}.'): shape
            for key, shape in listed['keys_block0']
        }
    with torch.device('meta'):
        model = DINOv3(name)
        expected = our_keys({key: torch.empty(shape) for key, shape in keys.items()}, name)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert shapes == {key: value.shape for key, value in expected.items()}
    assert sum(p.numel() for p in model.parameters()) == listed['params']
    assert model.out_channels == (listed['width'],) * 4 and model.strides == (16,) * 4
    assert model.blocks[0].attn.num_heads == listed['heads']
    assert model.num_registers == listed['registers'] and model.norm.eps == 1e-5
    assert model.out_indices[-1] == listed['depth'] - 1


@torch.no_grad()
@pytest.mark.parametrize('size', [(16, 16), (16, 80), (112, 48)])
def test_any_multiple_of_16(size):
    model = small_model().eval()
    image = torch.rand(2, 3, *size)
    features = model(image)
    grid = (size[0] // 16, size[1] // 16)
    assert [x.shape for x in features.maps] == [(2, 24, *grid)] * 4
    assert [x.shape for x in features.cls_tokens] == [(2, 24)] * 4
    assert [x.shape for x in features.register_tokens] == [(2, 4, 24)] * 4
    assert_close(model(image[1:]).maps[3], features.maps[3][1:])
    assert small_model(num_registers=0)(image).register_tokens is None


@pytest.mark.parametrize('size', [(60, 64), (64, 70), (8, 16)])
def test_image_size_not_a_multiple_of_16(size):
    with pytest.raises(
        ValueError, match=rf'{size[0]}x{size[1]}.*data_preprocessor\.size_divisor=16'
    ):
        small_model()(torch.rand(1, 3, *size))


@torch.no_grad()
def test_the_final_norm_is_applied_to_none_to_the_last_or_to_all():
    image = torch.rand(1, 3, 32, 48)
    plain, last, every = (small_model(final_norm=value).eval() for value in (False, 'last', True))
    outputs = [tokens_of(plain(image), level) for level in range(4)]
    for level in range(4):
        normed = plain.norm(outputs[level])
        assert_close(tokens_of(every(image), level), normed)
        assert_close(tokens_of(last(image), level), normed if level == 3 else outputs[level])


def test_every_parameter_that_is_trained_gets_a_gradient():
    for arguments, unused in (
        (dict(), {'mask_token', 'norm.weight', 'norm.bias'}),
        (dict(final_norm='last'), {'mask_token'}),
    ):
        model = small_model(**arguments)
        features = model(torch.rand(1, 3, 32, 48))
        sum(x.square().sum() for x in features.maps).backward()
        untouched = {name for name, p in model.named_parameters() if p.grad is None}
        assert untouched == unused
        assert untouched == {name for name, p in model.named_parameters() if not p.requires_grad}


def test_coordinates_are_drawn_in_training_alone():
    """Of a backbone that is frozen as a whole none are: it is in eval mode."""
    image = torch.rand(1, 3, 32, 48)
    model = small_model()
    seen = {model(image).maps[3].sum().item() for _ in range(3)}
    assert len(seen) == 3
    model.eval()
    assert len({model(image).maps[3].sum().item() for _ in range(3)}) == 1
    still = small_model(rope_rescale=None).train()
    assert len({still(image).maps[3].sum().item() for _ in range(3)}) == 1


def test_stochastic_depth_acts_in_training_alone():
    model = small_model(drop_path_rate=0.9, rope_rescale=None)
    image = torch.rand(4, 3, 32, 32)
    assert len({model(image).maps[3].sum().item() for _ in range(5)}) > 1
    model.eval()
    assert len({model(image).maps[3].sum().item() for _ in range(3)}) == 1


def test_starts_from_scratch():
    model = MODELS.build(dict(type='DINOv3', arch='tiny'))
    nn.init.zeros_(model.blocks[3].attn.k_proj.weight)
    model.init_weights()
    assert abs(model.blocks[3].attn.k_proj.weight.std().item() - 0.02) < 1e-3
    features = model(torch.rand(1, 3, 32, 64))
    assert [x.shape for x in features.maps] == [(1, 192, 2, 4)] * 4
    assert all(x.isfinite().all() for x in features.maps)


@torch.no_grad()
def test_autocast_and_half_precision_stay_close():
    model = small_model().eval()
    image = torch.rand(1, 3, 32, 48)
    exact = model(image).maps[3]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert_close(model(image).maps[3].float(), exact, rtol=0, atol=0.1)
    assert_close(model.bfloat16()(image.bfloat16()).maps[3].float(), exact, rtol=0, atol=0.1)


def test_fast_forms_keep_outputs_and_gradients():
    plain, fast = (small_model(rope_rescale=None).double() for _ in range(2))
    assert sum(isinstance(module, FastMLP) for module in optimize(fast, True).modules()) == 4
    image = torch.rand(2, 3, 32, 48, dtype=torch.float64)
    for model in (plain, fast):
        sum(x.square().sum() for x in model(image).maps).backward()
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        if one.grad is not None:
            assert_close(other.grad, one.grad)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(arch='giant'), r"model\.backbone\.arch must be one of .*'huge_plus'.* got 'giant'"),
        (dict(arch=dict(embed_dims=24, depth=2)), 'must have embed_dims, depth, num_heads'),
        (dict(arch=dict(ARCH, heads=3)), 'may have ffn, mlp_ratio, qkv_bias, stem_channels'),
        (dict(arch=dict(ARCH, ffn='relu')), "must be one of .*'swiglu'.*got 'relu'"),
        (dict(arch=dict(ARCH, num_heads=5)), 'num_heads=5 must divide embed_dims=24'),
        (dict(arch=dict(ARCH, num_heads=4)), r'multiple of 4, .*got 24 / 4'),
        (dict(out_indices=None), r'out_indices must be .* 0 to 3'),
        (dict(out_indices=(1, 4)), r'ascending block numbers from 0 to 3, got \(1, 4\)'),
        (dict(final_norm='first'), r"final_norm must be False, True or 'last', got 'first'"),
        (dict(final_norm='last', out_indices=(0, 1)), r"final_norm='last' .* 3, .*\(0, 1\)"),
        (dict(rope_rescale=0.5), r'rope_rescale: expected a number from 1 up, got 0\.5'),
        (dict(rope_shift=-0.1), r'rope_shift: expected a number from 0 up, got -0\.1'),
        (dict(frozen_stages=5), r'frozen_stages must be .* up to 4, got 5.*model\.freeze_backbone'),
        (dict(init_cfg=dict(type='Normal', std=1)), "init_cfg must be None .*'official'"),
    ],
)
def test_wrong_arguments_are_refused_when_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)
