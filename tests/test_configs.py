"""Every config of the repository, as it is."""

import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData

from m2h_mm.engine.config import load_config
from m2h_mm.experiments.complexity import fit_size
from m2h_mm.methods.m2h.checkpoint import DEAD_KEYS, translate_key
from m2h_mm.registry import EVALUATOR, MODELS, TRANSFORMS
from m2h_mm.structures import MultiTaskDataSample

CONFIGS = sorted(
    path
    for path in (Path(__file__).parents[1] / 'configs').rglob('*.py')
    if not {'_base_', 'sweeps'} & set(path.parts)
)
BACKBONES = '(tiny|vits|vitb|vitl|vitg|hrnet18|hrnet48)'
DATA = '(nyud|rooms|hypersim|cityscapes|pascal)'
# Of data sets with others than the four.
TASKS = dict(
    cityscapes=['semseg', 'disparity', 'edge'],
    pascal=['semseg', 'human_parts', 'saliency', 'normals', 'edge'],
)
LARGE = dict(base=dict(embed_dims=768, num_heads=12), large=dict(embed_dims=1024, num_heads=16))
PATTERNS = {
    'ablations': rf'[a-z]+(_[a-z0-9]+)+_{BACKBONES}_{DATA}',  # <what>_<value>_...
    'baselines': rf'(mtl|single_[a-z]+)_{BACKBONES}_{DATA}',
    'm2h': rf'm2h(_small|_fast)?_{BACKBONES}_{DATA}(_[a-z]+)?',
}


def build(name: str) -> torch.nn.Module:
    path = next(path for path in CONFIGS if path.stem == name)
    with torch.device('meta'):
        return MODELS.build(load_config(path).model)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_is_complete_and_named_by_the_pattern(path):
    folder = path.parent.name
    assert re.fullmatch(PATTERNS.get(folder, rf'{folder}_{BACKBONES}_{DATA}'), path.stem)
    cfg = load_config(path)
    model = build(path.stem)
    assert list(model.tasks) == TASKS.get(
        re.search(DATA, path.stem)[0], ['semseg', 'depth', 'normals', 'edge']
    )
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for step in loader.dataset.pipeline:
            TRANSFORMS.build(dict(step, _scope_='m2h_mm'))
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        headlines = (
            key.split('/')[-2:] for key in EVALUATOR.build(evaluator).headlines
        )  # [data set,] task, metric
        assert list(dict.fromkeys(map('/'.join, headlines))) == [
            f'{name}/{task.metric}' for name, task in model.tasks.items()
        ]
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_takes_a_training_step(path):
    """At the smallest size that the model takes, from random weights; the second frame has no
    labels.
    """
    cfg = load_config(path)
    cfg.model.backbone.init_cfg = None
    if (
        cfg.model.backbone.get('arch') in LARGE
    ):  # four of its blocks tell as much in a fraction of the time
        arch = dict(LARGE[cfg.model.backbone.arch], depth=4)
        cfg.model.backbone.update(arch=arch, out_indices=(0, 1, 2, 3))
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    size = fit_size(model, (28, 28))
    samples = [
        MultiTaskDataSample(metainfo=dict(cam2img=[[30.0, 0, 14], [0, 30.0, 14], [0, 0, 1]]))
        for _ in range(2)
    ]
    for task in model.tasks.values():
        label = torch.ones(task.label_channels, *size) / task.label_channels**0.5
        samples[0].set_field(
            PixelData(data=label if label.shape[0] > 1 else label.byte()), task.gt_field
        )
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
    assert logged['loss'].isfinite() and all(
        logged[f'raw_{name}'].isfinite() for name in model.tasks
    )
    assert not waiting
    for part, old in zip(parts, before, strict=True):
        new = next(part.parameters())
        assert new.isfinite().all() and (new != old).any()


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
    model = build(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == listed['total_params']
    expected = {translate_key(key): tuple(shape) for key, shape in listed['keys']}
    assert expected.keys() >= DEAD_KEYS
    ours = {
        key: tuple(value.shape)
        for key, value in model.state_dict().items()
        if not key.startswith('weighting.')
    }
    assert ours == expected


def test_m2h_differs_from_the_official_one_by_the_unknown_class_alone():
    ours, official = (
        sum(p.numel() for p in build(name).parameters())
        for name in ('m2h_vits_nyud', 'm2h_vits_nyud_official')
    )
    assert official - ours == 64 + 1
