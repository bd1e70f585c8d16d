"""Every config and every ablation of the repository."""

import ast
import copy
import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import model_index
import pytest
import torch
from label_fields import label_field
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from m2h_mm.engine.config import CONFIGS, ablation_names, apply_ablation, load_config, share_tasks
from m2h_mm.engine.config_check import check_config
from m2h_mm.engine.config_places import class_arguments
from m2h_mm.experiments.complexity import fit_size
from m2h_mm.methods.m2h.checkpoint import DEAD_KEYS, translate_m2h_key
from m2h_mm.registry import EVALUATOR, MODELS
from m2h_mm.structures import MultiTaskDataSample

ALL = sorted(CONFIGS.rglob('*.py'))
TRAININGS = [path for path in ALL if not {'_base_', 'ablations', 'sweeps'} & set(path.parts)]
NAMES = [path.stem for path in TRAININGS]
BACKBONES = '(lite0|tiny|vits|vitb|vitl|hrnet18|hrnet48)'
DATA = '(nyud|rooms|scannet|hypersim|cityscapes|pascal)'
PATTERNS = {
    'baselines': rf'mtl_{BACKBONES}_{DATA}',
    'm2h': rf'm2h(_small|_fast|_edge)?_{BACKBONES}_{DATA}(_[a-z]+)?',
    'm2h_mx': rf'm2h_mx_{BACKBONES}_{DATA}(_official)?',
}
# Of data sets with others than the four.
TASKS = dict(
    scannet=['semseg', 'depth'],
    cityscapes=['semseg', 'disparity', 'edge'],
    pascal=['semseg', 'human_parts', 'saliency', 'normals', 'edge'],
)
# Packages that an ablation needs and that may be missing; small forms of the networks from them.
NEEDS = dict(backbone_swin='transformers', backbone_convnext='timm')
SMALL_FORMS = dict(
    HFBackbone=dict(
        options=dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=4)
    ),
    TimmBackbone=dict(options=dict(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16))),
)
# What an ablation is for, if not for M2H.
BASE = dict(
    backbone_frozen='mti_net_hrnet18_nyud',
    backbone_trained='m2h_vits_nyud',
    data_rooms='mti_net_vits_nyud',
    fsdp='m2h_vitl_nyud',
)


@cache
def load(name: str) -> Config:
    """Of which nothing may be changed in place."""
    return load_config(name)


def build(cfg: Config) -> torch.nn.Module:
    with torch.device('meta'):
        return MODELS.build(cfg.model)


# ---- files
def test_there_are_few_configs_and_each_name_is_there_once():
    names = [path.stem for path in ALL if '_base_' not in path.parts]
    assert sorted(set(names)) == sorted(names)
    assert len(ALL) <= 115


def test_the_model_index_says_what_they_are():
    written = {model_index.REPOSITORY / model_index.INDEX: model_index.index()}
    for folder in model_index.folders():
        written[folder / model_index.METAFILE] = model_index.metafile(folder, load)
    found = {path: path.read_text() for path in written if path.is_file()}
    assert found == written, 'python tests/helpers/model_index.py writes them anew'


@pytest.mark.parametrize('path', TRAININGS, ids=lambda path: path.stem)
def test_config_is_complete_and_named_by_the_pattern(path):
    folder = path.parent.name
    assert re.fullmatch(PATTERNS.get(folder, rf'{folder}_{BACKBONES}_{DATA}'), path.stem)
    cfg = load(path.stem)
    check_config(cfg)
    tasks = TASKS.get(re.search(DATA, path.stem)[0], ['semseg', 'depth', 'normals', 'edge'])
    assert list(cfg.tasks) == list(cfg.model.tasks) == tasks
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        headlines = EVALUATOR.build(evaluator).headlines  # [data set/]task/metric
        assert list(dict.fromkeys(key.split('/')[-2] for key in headlines)) == tasks
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters


def test_no_two_configs_are_the_same():
    seen = {}
    for name in NAMES:
        cfg = {key: value for key, value in load(name).to_dict().items() if key != 'work_dir'}
        assert seen.setdefault(repr(sorted(cfg.items())), name) == name


def strings(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, str):
        yield value
    elif not isinstance(value, (int, float, bool, type(None))):
        for item in value:
            yield from strings(item)


@pytest.mark.parametrize('name', NAMES)
def test_no_config_points_outside_the_repository(name):
    paths = [Path(text) for text in strings(load(name).to_dict()) if '/' in text]
    # '/rmse' and its like are parts of metrics' names.
    absolute = [path for path in paths if path.is_absolute() and len(path.parts) > 2]
    assert absolute + [path for path in paths if '..' in path.parts] == []


def test_tasks_are_said_once():
    """No file but a data set's says how many classes there are."""
    for path in ALL:
        if 'datasets' not in path.parts:
            keywords = [
                node.arg
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.keyword)
            ]
            assert 'num_classes' not in keywords, path


# ---- training
def small(cfg: Config) -> Config:
    """The structure of a model, with few channels."""
    cfg = Config(cfg.to_dict())
    model = cfg.model
    model.backbone.init_cfg = None
    if model.backbone['type'] in ('DINOv2', 'DINOv3', 'ViT') and 'arch' in model.backbone:
        arch = dict(embed_dims=24, depth=4, num_heads=3)
        model.backbone.update(arch=arch, out_indices=(0, 1, 2, 3))
        if model.backbone['type'] != 'DINOv3':
            model.backbone['img_size'] = 112
    if 'options' not in model.backbone:
        model.backbone.update(SMALL_FORMS.get(model.backbone['type'], {}))
    if model.get('neck'):
        model.neck.out_channels = 16
        if model.neck['type'] == 'TokenReassembly':
            model.neck.mid_channels = None
    for key, value in dict(channels=16, extra_channels=8).items():
        if key in class_arguments(MODELS.get(model.decoder['type']))[0]:
            model.decoder[key] = value
    for head in model.heads.values():
        if 'hidden_channels' in class_arguments(MODELS.get(head['type']))[0]:
            head['hidden_channels'] = (8,) * len(head.get('hidden_channels', (128, 64)))
    return cfg


def structures() -> dict[str, str]:
    """The configs whose small models differ, by a description of those."""
    found: dict[str, str] = {}
    for name in NAMES:
        cfg = small(load(name))
        model = cfg.model.to_dict()
        for key in ('data_preprocessor', 'freeze_backbone', 'channels_last'):
            model.pop(key, None)
        model['weighting'] = model.get('weighting', {}).get('type')
        found.setdefault(repr(model), name)
    return found


def take_a_step(cfg: Config) -> None:
    """One training step at the smallest size; the second frame has no labels."""
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    size = fit_size(model, (28, 28))
    samples = [
        MultiTaskDataSample(metainfo=dict(cam2img=[[30.0, 0, 14], [0, 30.0, 14], [0, 0, 1]]))
        for _ in range(2)
    ]
    for task in model.tasks.values():
        label = torch.ones(task.label_channels, *size) / task.label_channels**0.5
        samples[0].set_field(label_field(label), task.gt_field)
    parts = [
        part
        for part in (model.neck, model.decoder, *model.heads.values())
        if part and list(part.parameters())
    ]
    before = [next(part.parameters()).detach().clone() for part in parts]
    # One without a gradient would make DistributedDataParallel wait.
    waiting = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda _, name=name: waiting.discard(name))
    logged = model.train_step(
        dict(inputs=torch.randint(0, 256, (2, 3, *size)), data_samples=samples), optimizer
    )
    assert logged['loss'].isfinite()
    assert all(logged[f'raw_{name}'].isfinite() for name in model.tasks)
    assert not waiting
    for part, old in zip(parts, before, strict=True):
        new = next(part.parameters())
        assert new.isfinite().all() and (new != old).any()


@pytest.mark.parametrize('name', structures().values())
def test_every_structure_takes_a_training_step(name):
    take_a_step(small(load(name)))


# ---- ablations
def skip_if_it_needs_what_is_not_installed(name: str) -> None:
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f'{NEEDS[name]} is not installed')


@pytest.mark.parametrize('name', ablation_names())
def test_every_ablation_fits_the_model_at_its_full_size(name):
    skip_if_it_needs_what_is_not_installed(name)
    base = load_unshared(BASE.get(name, 'm2h_vits_nyud'))
    check_config(share_tasks(apply_ablation(base, name)))


@cache
def read_unshared(name: str) -> Config:
    return Config.fromfile(next(path for path in TRAININGS if path.stem == name))


def load_unshared(name: str) -> Config:
    return copy.deepcopy(read_unshared(name))


@pytest.mark.parametrize('name', [name for name in ablation_names() if name not in BASE])
def test_every_ablation_takes_a_training_step(name):
    skip_if_it_needs_what_is_not_installed(name)
    cfg = share_tasks(apply_ablation(load_unshared('m2h_tiny_rooms'), name))
    take_a_step(small(cfg))


# ---- M2H on backbones of other libraries, in ten lines each; Swin and ConvNeXt are ablations
STAGE = dict(num_modules=1, block='BASIC')
OF_OTHERS = dict(
    dinov3=dict(
        data_preprocessor=dict(size_divisor=16),
        backbone=dict(
            _delete_=True,
            type='HFBackbone',
            name='dinov3_vit',
            options=dict(
                hidden_size=24, num_hidden_layers=4, num_attention_heads=3, intermediate_size=48
            ),
        ),
    ),
    hrnet=dict(
        data_preprocessor=dict(size_divisor=32),
        backbone=dict(
            _delete_=True,
            type='mmseg.HRNet',
            norm_cfg=dict(type='BN'),
            extra=dict(
                stage1=dict(STAGE, block='BOTTLENECK', num_branches=1, num_blocks=(1,),
                            num_channels=(8,)),
                stage2=dict(STAGE, num_branches=2, num_blocks=(1,) * 2, num_channels=(8,) * 2),
                stage3=dict(STAGE, num_branches=3, num_blocks=(1,) * 3, num_channels=(8,) * 3),
                stage4=dict(STAGE, num_branches=4, num_blocks=(1,) * 4, num_channels=(8,) * 4),
            ),
        ),
        neck=dict(_delete_=True, type='Lateral', out_channels=16),
    ),
)  # fmt: skip


@pytest.mark.parametrize('name', OF_OTHERS)
def test_m2h_takes_a_training_step_on_a_backbone_of_others(name):
    if name == 'dinov3':
        pytest.importorskip('transformers', reason='transformers is not installed')
    cfg = load_unshared('m2h_tiny_rooms')
    cfg.merge_from_dict(dict(model=deepcopy(OF_OTHERS[name])))
    cfg = share_tasks(cfg)
    take_a_step(small(cfg))


# ---- M2H's checkpoints
@pytest.mark.parametrize(
    ('name', 'official'),
    [
        ('m2h_vits_nyud_official', 'm2h_vits14_channels256_classes41'),
        ('m2h_small_vits_nyud_official', 'm2h_small_vits14_channels96_classes41'),
    ],
)
def test_official_configs_have_the_official_parameters(name, official, reference):
    listed = json.loads((reference / 'm2h' / 'state_dict_keys.json').read_text())['models'][
        official
    ]
    model = build(load(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == listed['total_params']
    expected = {translate_m2h_key(key): tuple(shape) for key, shape in listed['keys']}
    assert expected.keys() >= DEAD_KEYS
    ours = {
        key: tuple(value.shape)
        for key, value in model.state_dict().items()
        if not key.startswith('weighting.')
    }
    assert ours == expected


def test_m2h_differs_from_the_official_one_by_the_unknown_class_alone():
    ours, official = (
        sum(p.numel() for p in build(load(name)).parameters())
        for name in ('m2h_vits_nyud', 'm2h_vits_nyud_official')
    )
    assert official - ours == 64 + 1
