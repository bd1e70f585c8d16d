"""The plain network is the official one, and ours is the plain one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plain
import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from m2h_mm.methods.m2h.checkpoint import convert_official_m2h, fit_official_m2h, translate_key
from m2h_mm.registry import MODELS

NETWORKS = dict(full=plain.M2H, small=plain.M2HSmall)
OUTPUTS = dict(
    semseg='seg', depth='depth', normals='normals', edge='edges'
)  # our name: the official one
SIZES = dict(embed_dim=48, channels=32, num_classes=7)


@pytest.fixture(scope='module')
def arrays(reference) -> Callable[[str], dict[str, Tensor]]:
    def load(name: str) -> dict[str, Tensor]:
        path = reference / 'm2h' / f'{name}.npz'
        if not path.is_file():
            pytest.skip(f'{path.name} is only in the full set of reference vectors')
        with np.load(path, allow_pickle=False) as file:
            return {key: torch.from_numpy(file[key]) for key in file.files}

    return load


def weights(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix('weights/'): value
        for key, value in arrays.items()
        if key.startswith('weights/')
    }


def tiny_backbone() -> plain.DINOv2:
    return plain.DINOv2(48, depth=4, num_heads=3, img_size=70, outputs=range(4))


def tiny(variant: str, frozen: bool = True) -> nn.Module:
    """The network of the vectors' size, with random weights that leave no branch out."""
    torch.manual_seed(0)
    network = NETWORKS[variant](tiny_backbone(), frozen=frozen, **SIZES)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, parameter.mean().item(), 0.2)
    nn.init.constant_(network.mlt_head.conv_depth.final_conv.bias, 2.0)
    return network


def ours(variant: str, network: nn.Module) -> nn.Module:
    """Our model with a plain network's weights, through the converter of official checkpoints."""
    small = variant == 'small'
    switch, none = dict(separable=small), dict(type='L1Loss')
    model = MODELS.build(
        Config(
            dict(
                model=dict(
                    type='MultiTaskModel',
                    tasks=dict(
                        semseg=dict(num_classes=7), depth=dict(), normals=dict(), edge=dict()
                    ),
                    backbone=dict(
                        type='DINOv2',
                        arch=dict(embed_dims=48, depth=4, num_heads=3),
                        out_indices=(0, 1, 2, 3),
                        img_size=70,
                        frozen=not network.backbone.cls_token.requires_grad,
                    ),
                    neck=dict(type='TokenReassembly', out_channels=32, **switch),
                    decoder=dict(
                        type='M2HDecoder',
                        channels=32,
                        **switch,
                        interaction=dict(
                            type='WMCA', **(dict(reduction=4, pooling=2) if small else {})
                        ),
                        merger=dict(type='GGFM', tasks=('semseg', 'depth'), **switch),
                    ),
                    heads=dict(
                        semseg=dict(type='M2HSemsegHead', **switch),
                        depth=dict(type='M2HDepthHead', **switch),
                        normals=dict(type='M2HNormalsHead', **switch),
                        edge=dict(type='M2HEdgeHead', **switch),
                    ),
                    losses=dict.fromkeys(OUTPUTS, none),
                )
            )
        ).model
    )
    fitted = fit_official_m2h(network.state_dict(), model.state_dict())
    assert not fitted.unused and not fitted.missing
    model.load_state_dict(fitted.state_dict, strict=False)
    return model


def relative(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest error of a task's output, over the largest value of the output."""
    return max(
        ((actual[name] - value).abs().max() / value.abs().max()).item()
        for name, value in expected.items()
    )


def renamed(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {task: outputs[theirs].double() for task, theirs in OUTPUTS.items()}


def image(*size: int) -> Tensor:
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ('model', 'network', 'options'),
    [
        ('m2h_vits14_channels256_classes41', plain.M2H, {}),
        ('m2h_small_vits14_channels256_classes41', plain.M2HSmall, dict(channels=256)),
        ('m2h_small_vits14_channels96_classes41', plain.M2HSmall, {}),
    ],
)
def test_official_checkpoints_load_as_they_are(reference, model, network, options):
    official = json.loads((reference / 'm2h' / 'state_dict_keys.json').read_text())['models'][model]
    with torch.device('meta'):
        network = network(plain.DINOv2(), num_classes=41, **options)
    assert [[key, list(value.shape)] for key, value in network.state_dict().items()] == official[
        'keys'
    ]
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in trainable) == official['trainable_params']


@torch.no_grad()
def test_backbone_is_the_official_one(arrays):
    vectors = arrays('dinov2_tiny')
    backbone = tiny_backbone()
    backbone.load_state_dict(weights(vectors))
    backbone.double()
    for name in 'ab':
        features = backbone(vectors[f'input/{name}'].double())
        for level, found in enumerate(features):
            for kind, value in zip(('map', 'cls'), found, strict=True):
                expected = vectors[f'output/{name}/{kind}_{level}'].double()
                torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('variant', NETWORKS)
@torch.no_grad()
def test_every_stage_is_the_official_one(arrays, variant):
    """The image's sides are no multiples of 14, the maps' none of the window's."""
    vectors = arrays(f'm2h_{variant}_tiny')
    network = NETWORKS[variant](tiny_backbone(), **SIZES)
    network.load_state_dict(weights(vectors))
    network.double().eval()
    head = network.mlt_head
    stages: dict[str, Tensor] = {}

    def keep(*names: str) -> Callable[..., None]:
        def hook(
            module: nn.Module, inputs: tuple, output: Tensor | list[Tensor] | dict[str, Tensor]
        ) -> None:
            values = (
                [output]
                if isinstance(output, Tensor)
                else list(getattr(output, 'values', lambda: output)())
            )
            stages.update(zip(names, values, strict=True))

        return hook

    tasks = ('edges', 'normals', 'sem_seg', 'depth')
    head.reassemble_blocks.register_forward_hook(
        keep(*(f'reassembled_{level}' for level in range(4)))
    )
    for level, layer in enumerate(head.convs):
        layer.register_forward_hook(keep(f'feat_{level}'))
    for number, layer in enumerate(head.cross_attn):
        layer.register_forward_hook(keep(*(f'cross{number}_{task}' for task in tasks)))
    for theirs, feature, restore in (
        ('depth', head.unique_depth_feature, head.restore_depth),
        ('semantic', head.unique_semantic_feature, head.restore_semseg),
    ):
        feature.register_forward_hook(keep(f'unique_{theirs}'))
        restore.register_forward_hook(keep(f'restored_{theirs}'))
    head.register_forward_hook(keep('head_depth', 'head_seg', 'head_normals', 'head_edges'))
    network.register_forward_hook(keep('depth', 'seg', 'normals', 'edges'))
    network(vectors['input/c'].double())

    assert len(stages) == 4 + 4 + 2 * 4 + 4 + 2 * 4
    for stage, actual in stages.items():
        torch.testing.assert_close(
            actual,
            vectors[f'output/c/{stage}'].double(),
            rtol=0,
            atol=1e-6,
            msg=lambda text, name=stage: f'{name}: {text}',
        )


def test_training_step_is_the_official_one(arrays):
    """Outputs with batch statistics, gradients of all parameters, running statistics."""
    expected = arrays('m2h_full_train_grad')
    network = plain.M2H(tiny_backbone(), **SIZES)
    network.load_state_dict(weights(arrays('m2h_full_tiny')))
    network.double().train()
    loss = 0
    for name, output in network(expected['input/a'].double()).items():
        torch.testing.assert_close(output, expected[f'output/a/{name}'].double(), rtol=0, atol=1e-6)
        loss = loss + (expected[f'input/proj_{name}'] * output).sum()
    loss.backward()
    gradients = {
        name: parameter.grad
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    buffers, compared = dict(network.named_buffers()), set()
    for key, value in expected.items():
        kind, _, name = key.removeprefix('output/').partition('/')
        if kind == 'grad':
            torch.testing.assert_close(gradients[name], value.double(), rtol=1e-5, atol=1e-5)
        elif kind == 'grad_l2':
            compared.add(name)
            assert gradients[name].norm().item() == pytest.approx(
                value.item(), rel=1e-5, abs=1e-5
            ), name
        elif kind == 'buffers_after':
            torch.testing.assert_close(
                buffers[name], value.to(buffers[name].dtype), rtol=0, atol=1e-6
            )
    assert compared == set(gradients)


@pytest.mark.parametrize('size', [(28, 42), (42, 28)])
@pytest.mark.parametrize('variant', NETWORKS)
@torch.no_grad()
def test_ours_equals_the_plain_network(variant, size):
    network = tiny(variant).eval()
    model = ours(variant, network).eval()
    x = image(*size)
    plain32, ours32 = renamed(network.run(x)), model(x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        plain16, ours16 = renamed(network.run(x)), model(x)
    exact = renamed(network.double().run(x.double()))
    assert relative(plain32, exact) < 1e-4
    assert relative(ours32, exact) < 1e-4
    assert all((value.amax((2, 3)) - value.amin((2, 3))).max() > 1e-3 for value in exact.values())
    # In half precision either is off by its own rounding.
    assert 0 < relative(ours16, exact) < 1.5 * relative(plain16, exact)


@pytest.mark.parametrize(('variant', 'frozen'), [('full', False), ('small', True)])
def test_gradients_of_ours_equal_the_plain_networks(variant, frozen):
    network = tiny(variant, frozen).double().train()
    model = ours(variant, network).double().train()
    x = image(28, 28).double().repeat(2, 1, 1, 1)
    generator = torch.Generator().manual_seed(2)
    theirs, mine = renamed(network.run(x)), model(x)
    losses = [0, 0]
    for task in OUTPUTS:
        weight = torch.randn(theirs[task].shape, generator=generator, dtype=torch.double)
        losses[0] = losses[0] + (weight * theirs[task]).sum()
        losses[1] = losses[1] + (weight * mine[task]).sum()
    for loss in losses:
        loss.backward()
    gradients = {
        name: parameter.grad
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    ours_by_name = {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    assert {translate_key(name) for name in gradients} == set(ours_by_name)
    assert any(name.startswith('backbone.') for name in gradients) is not frozen
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            ours_by_name[translate_key(name)],
            gradient,
            rtol=1e-6,
            atol=1e-6,
            msg=lambda text, n=name: f'{n}: {text}',
        )
    converted = convert_official_m2h(network.state_dict())
    for name, buffer in model.named_buffers():
        if 'running' in name:
            torch.testing.assert_close(buffer, converted[name])


def test_the_package_and_the_plain_network_do_not_know_each_other():
    folder = Path(plain.__file__).parent
    assert not any(
        'm2h_mm' in line
        for path in folder.glob('*.py')
        for line in path.read_text().splitlines()
        if line.lstrip().startswith(('import ', 'from '))
    )
    package = folder.parents[1] / 'm2h_mm'
    assert not any(
        'plain' in line.split()[1].split('.')
        for path in package.rglob('*.py')
        for line in path.read_text().splitlines()
        if line.startswith(('import ', 'from '))
    )
