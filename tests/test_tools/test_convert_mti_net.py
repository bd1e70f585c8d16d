"""The converter of official MTI-Net and PAD-Net checkpoints, run as a user runs it."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from m2h_mm.engine.checkpoints import load_weights
from m2h_mm.engine.config import load_config
from m2h_mm.methods.mti_net.checkpoint import (
    convert_official_mti_net,
    distillation_parts,
    official_tasks,
    translate_mti_net_key,
    unwrap_state_dict,
)
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = {'mti': 'mti_net/mti_net_hrnet18_nyud.py', 'pad': 'pad_net/pad_net_hrnet18_nyud.py'}
TASKS = ('semseg', 'depth', 'normals', 'edge')


@pytest.fixture
def convert(run) -> Callable[..., str]:
    """``convert(SRC, DST, *options, status=0)``: what the command printed."""
    return partial(run, 'convert-checkpoint', 'mti_net')


@pytest.fixture(scope='module')
def listed(reference) -> dict:
    path = reference / 'baselines' / 'keys.json'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    return json.loads(path.read_text())


def build(method: str, **decoder) -> torch.nn.Module:
    cfg = load_config(REPOSITORY / 'configs' / CONFIGS[method])
    cfg.model.decoder.update(decoder)
    return MODELS.build(cfg.model)


@pytest.mark.parametrize(
    ('name', 'method', 'main_tasks'),
    [
        ('mti_net_hrnet18_nyud_4task', 'mti', None),
        ('mti_net_hrnet18_nyud_2main_4aux', 'mti', ['semseg', 'depth']),
        ('pad_net_hrnet18_nyud_4task', 'pad', None),
    ],
)
def test_a_full_size_checkpoint_is_converted_and_loaded(
    convert, listed, tmp_path, name, method, main_tasks
):
    """Every key and shape of the published architecture has its place, and nothing else is in the
    model.
    """
    generator = torch.Generator().manual_seed(0)
    official = {
        key: torch.randn(shape, generator=generator) if shape else torch.tensor(7)
        for key, shape in listed[name]['state_dict']
    }
    torch.save(
        {f'module.{key}': value for key, value in official.items()}, tmp_path / 'official.pth.tar'
    )
    options = (
        ['--cfg-options', f'model.decoder.main_tasks={",".join(main_tasks)}'] if main_tasks else []
    )
    printed = convert(
        tmp_path / 'official.pth.tar',
        tmp_path / 'ours.pth',
        '--config',
        REPOSITORY / 'configs' / CONFIGS[method],
        *options,
    )
    assert f'{len(official)} tensors converted into' in printed

    model = build(method, **(dict(main_tasks=main_tasks) if main_tasks else {}))
    load_weights(model, tmp_path / 'ours.pth')
    assert sum(p.numel() for p in model.parameters()) == listed[name]['parameter_count']
    assert sum(b.numel() for b in model.state_dict().values()) == (
        listed[name]['parameter_count'] + listed[name]['buffer_value_count']
    )
    counts = listed[name]['parameter_count_by_child']
    size = {
        child: sum(p.numel() for p in module.parameters())
        for child, module in (
            *model.named_children(),
            *model.decoder.named_children(),
            ('conv', model.heads),
        )
    }
    if method == 'mti':
        assert size['backbone'] == counts['backbone']
        assert size['propagate'] == sum(counts[f'fpm_scale_{scale}'] for scale in (1, 2, 3))
        assert size['distil'] == sum(counts[f'distillation_scale_{scale}'] for scale in range(4))
    else:
        assert size['backbone'] + size['fuse'] == counts['backbone']
        assert size['refine'] + size['predict'] == counts['initial_task_prediction_heads']
        assert size['distil'] == counts['multi_modal_distillation']
        assert size['heads'] == counts['heads']
    ours = model.state_dict()
    # All that is not joined or reordered is what it was; the rest is a rearrangement of it.
    main = official_tasks(official)[1]
    total = 0.0
    for key, tensor in official.items():
        total += tensor.double().sum().item()
        place = None if 'self_attention' in key else translate_mti_net_key(key, main)
        if place is not None and 'propagate' not in place:
            assert torch.equal(ours[place], tensor), key
    assert sum(x.double().sum().item() for x in ours.values()) == pytest.approx(total)


@torch.no_grad()
def test_a_converted_checkpoint_predicts_the_official_numbers(convert, reference, tmp_path):
    """From the stored weights, behind a backbone of their widths, to the model's outputs."""
    path = reference / 'baselines' / 'mti_net_tiny.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    with np.load(path, allow_pickle=False) as file:
        vectors = {key: torch.from_numpy(file[key]) for key in file.files}
    stages = [
        f'stage{stage}=dict(num_channels={tuple(8 * 2**i for i in range(stage))})'
        for stage in (2, 3, 4)
    ]
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{REPOSITORY}/configs/{CONFIGS['mti']}'\n"
        'tasks = dict(semseg=dict(num_classes=5))\n'
        f'model = dict(backbone=dict(extra=dict({", ".join(stages)})))\n'
    )
    model = MODELS.build(load_config(tmp_path / 'config.py').model).eval()
    official = {f'backbone.{key}': value for key, value in model.backbone.state_dict().items()}
    official.update(
        {
            key.removeprefix('weights/'): value
            for key, value in vectors.items()
            if key.startswith('weights/')
        }
    )
    torch.save({'state_dict': official}, tmp_path / 'official.pth')
    convert(
        tmp_path / 'official.pth', tmp_path / 'out' / 'ours.pth', '--config', tmp_path / 'config.py'
    )
    load_weights(model, tmp_path / 'out' / 'ours.pth')
    model.backbone.forward = lambda image: Features(
        tuple(vectors[f'input/scale_{scale}'] for scale in range(4))
    )
    for task, output in model(torch.zeros(2, 3, 64, 96)).items():
        assert_close(output, vectors[f'output/head/{task}'], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope='module')
def toy() -> tuple[dict, dict]:
    """An official state dict of three tasks, one of them auxiliary, and what our model expects,
    made from its names.
    """
    tasks, main = ('semseg', 'normals', 'depth'), ('semseg', 'depth')
    shapes = {f'scale_0.refinement.{task}.0.bn1.bias': (6,) for task in tasks}
    shapes.update({f'scale_0.decoders.{task}.bias': (1,) for task in tasks})
    shapes.update({f'heads.{task}.last_layer.3.bias': (1,) for task in main})
    shapes['fpm_scale_1.non_linear.2.bias'] = (18,)
    shapes.update(
        {
            f'distillation_scale_1.self_attention.{target}.{source}.{kind}.weight': (6, 6, 3, 3)
            for target in main
            for source in tasks
            if source != target
            for kind in ('conv', 'attention.0')
        }
    )
    generator = torch.Generator().manual_seed(0)
    official = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    expected = {
        translate_mti_net_key(key, main): value
        for key, value in official.items()
        if 'self_attention' not in key
    }
    for source, partners in (('semseg', 1), ('normals', 2), ('depth', 1)):
        expected[f'decoder.distil.1.convs.{source}.weight'] = torch.zeros(2 * partners * 6, 6, 3, 3)
    return official, expected


def test_joined_and_reordered_tensors(toy):
    official, expected = toy
    converted = convert_official_mti_net(official, expected, ('depth', 'semseg', 'normals'))
    assert converted.keys() == expected.keys()
    begin = 'distillation_scale_1.self_attention'
    # Targets in the model's order, values before gates.
    assert torch.equal(
        converted['decoder.distil.1.convs.normals.weight'],
        torch.cat(
            [
                official[f'{begin}.{target}.normals.{kind}.weight']
                for kind in ('conv', 'attention.0')
                for target in ('depth', 'semseg')
            ]
        ),
    )
    semseg, normals, depth = official['fpm_scale_1.non_linear.2.bias'].chunk(3)
    assert torch.equal(
        converted['decoder.propagate.0.mask.2.bias'], torch.cat([depth, semseg, normals])
    )
    # The auxiliary task's finest prediction is its head's.
    assert torch.equal(
        converted['heads.normals.conv.bias'], official['scale_0.decoders.normals.bias']
    )
    assert distillation_parts('decoder.distil.convs.saliency.weight', ['saliency', 'edge']) == [
        'multi_modal_distillation.self_attention.edge.sal.conv.weight',
        'multi_modal_distillation.self_attention.edge.sal.attention.0.weight',
    ]


def test_an_order_in_which_the_mask_would_compare_other_channels_is_refused(toy):
    official, expected = dict(toy[0]), dict(toy[1])
    for state, key in (
        (official, 'fpm_scale_1.non_linear.2.bias'),
        (expected, 'decoder.propagate.0.mask.2.bias'),
    ):
        state[key] = torch.zeros(3 * 7)
    assert (
        convert_official_mti_net(official, expected, ('semseg', 'normals', 'depth')).keys()
        == expected.keys()
    )
    with pytest.raises(
        ValueError, match='groups of 3 channels .* do not divide the 7 channels.*same order'
    ):
        convert_official_mti_net(official, expected, ('depth', 'semseg', 'normals'))


def test_what_does_not_fit_is_named(toy):
    official, expected = toy
    tasks = ('semseg', 'normals', 'depth')
    pair = 'distillation_scale_1.self_attention.semseg.normals.attention.0.weight'
    for extra in (
        'scale_0.gate.weight',
        'backbone.head.weight',
        'aux.weight',
        pair.replace('scale_1', 'scale_2'),
        'heads.semseg.last_layer.5.weight',
        pair.replace('attention.0', 'norm'),
    ):
        with pytest.raises(
            ValueError, match=f'1 tensors of the checkpoint have no place in the model: {extra}'
        ):
            convert_official_mti_net({**official, extra: torch.zeros(1)}, expected, tasks)
    for key, named in (
        (pair, pair),
        ('scale_0.decoders.depth.bias', r'decoder\.predict\.0\.depth\.bias'),
    ):
        lacking = {name: value for name, value in official.items() if name != key}
        with pytest.raises(
            ValueError, match=f'1 tensors of the model are not in the checkpoint: {named}'
        ):
            convert_official_mti_net(lacking, expected, tasks)
    other = {**official, 'heads.depth.last_layer.3.bias': torch.zeros(5)}
    with pytest.raises(
        ValueError,
        match=r'another shape .*heads\.depth\.conv\.bias \(5,\) for '
        r"\(1,\).*\['semseg', 'd",
    ):
        convert_official_mti_net(other, expected, tasks)
    with pytest.raises(
        ValueError,
        match=re.escape("tasks ['semseg', 'normals', 'depth'], the config for ['depth']"),
    ):
        convert_official_mti_net(official, expected, ('depth',))
    with pytest.raises(ValueError, match="task.*'flow'"):
        official_tasks({'scale_0.refinement.flow.0.conv1.weight': 0})


def test_a_checkpoint_of_the_other_method_or_other_main_tasks_is_refused(convert, listed, tmp_path):
    official = {
        key: torch.zeros(shape)
        for key, shape in listed['mti_net_hrnet18_nyud_2main_4aux']['state_dict']
    }
    torch.save(official, tmp_path / 'official.pth')
    for method in ('pad', 'mti'):
        said = convert(
            tmp_path / 'official.pth',
            tmp_path / 'ours.pth',
            '--config',
            REPOSITORY / 'configs' / CONFIGS[method],
            status=1,
        )
        assert "main_tasks, which are ['semseg', 'depth']" in said
    assert not (tmp_path / 'ours.pth').exists()


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: {'state_dict': state},
        lambda state: {'model': state, 'epoch': 3},
        lambda state: {f'module.{key}': value for key, value in state.items()},
    ],
)
def test_wrappers_and_prefixes_are_taken_off(wrap):
    state = {
        'backbone.conv1.weight': torch.zeros(1),
        'distillation_scale_0.self_attention.a.b.conv.weight': torch.ones(1),
    }
    assert unwrap_state_dict(wrap(state)) == state


@pytest.mark.parametrize(
    'content', [{'state_dict': {'mlt_head.bias': torch.zeros(1)}}, {}, [torch.zeros(1)]]
)
def test_a_file_of_another_kind_is_refused(content):
    with pytest.raises(ValueError, match='distillation_scale_'):
        unwrap_state_dict(content)
