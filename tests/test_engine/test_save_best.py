"""``save_best`` takes any metric of ours by its name alone."""

import json
import math
from pathlib import Path

import pytest
import torch
from label_fields import label_field
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import PixelData
from torch.utils.data import Dataset

from m2h_mm.evaluation.metrics import build_metrics
from m2h_mm.registry import METRICS
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Depth, build_tasks
from m2h_mm.tasks.depth.metric import MEASURES
from m2h_mm.tasks.error_metric import ErrorMetric
from m2h_mm.tasks.pooled_metric import PooledMetric
from m2h_mm.tasks.stability import StabilityMetric

RUNTIME = Path(__file__).parents[2] / 'configs' / '_base_' / 'default_runtime.py'
KINDS = ('semseg', 'normals', 'edge', 'saliency', 'human_parts', 'disparity', 'depth')
BUILT = [
    *build_metrics(build_tasks(KINDS), dict(depth=dict(image_mean=MEASURES))),
    ErrorMetric(Depth(), prefix='albedo'),
]
LESS = {
    'rmse',
    'rmse_log',
    'abs_rel',
    'sq_rel',
    'silog',
    'log10',
    'mean',
    'median',
    'abs_err',
    'rel_err',
    'error',
}


def rule_of(key):
    settings = dict(Config.fromfile(RUNTIME).default_hooks.checkpoint)
    assert settings.pop('type') == 'CheckpointHook'
    return CheckpointHook(**{**settings, 'save_best': key}).rules


@pytest.mark.parametrize(
    'key', ['depth_far/rmse', 'surface_normals/mean', 'again_top_heatmap/rmse_image_mean']
)
def test_a_prefix_does_not_change_the_rule(key):
    assert rule_of(key) == ['less']


@pytest.mark.parametrize(
    'key', ['flow/epe', 'brightness_diff/l1', 'depth/new', 'colour/delta_e', 'depth/mean']
)
def test_a_measure_of_a_user_needs_a_rule(key):
    with pytest.raises(ValueError, match=f'Cannot infer the rule for key {key}'):
        rule_of(key)


def keys():
    for metric in BUILT:
        for name in metric.summarise(metric.statistics_of_nothing()):
            yield (
                f'{metric.prefix}/{name}',
                'less' if name.removesuffix('_image_mean') in LESS else 'greater',
            )


def test_every_metric_is_here():
    METRICS.import_from_location()
    registered = {cls for cls in METRICS.module_dict.values() if issubclass(cls, PooledMetric)}
    assert {type(metric) for metric in BUILT} >= {
        cls
        for cls in registered
        if cls.__module__.startswith('m2h_mm.') and not issubclass(cls, StabilityMetric)
    }


@pytest.mark.parametrize('name', ['flips', 'change', 'angle', 'unmatched'])
def test_what_changes_from_frame_to_frame_is_better_small(name):
    assert rule_of(f'depth/{name}') == ['less']


@pytest.mark.parametrize('key, rule', [*keys(), ('delta_m', 'greater'), ('gain/depth', 'greater')])
def test_the_rule_of_every_measure_is_known(key, rule):
    assert rule_of(key) == [rule]


@pytest.mark.parametrize('metric', BUILT, ids=lambda metric: metric.prefix)
def test_the_rule_agrees_with_the_task(metric):
    assert rule_of(f'{metric.prefix}/{metric.task.metric}') == [
        'greater' if metric.task.higher_is_better else 'less'
    ]


class Frames(Dataset):
    metainfo: dict = {}

    def __init__(self, labelled=True):
        self.labelled = labelled

    def __len__(self):
        return 2

    def __getitem__(self, index):
        sample = MultiTaskDataSample()
        if self.labelled:
            sample.gt_depth = label_field(torch.full((1, 4, 6), 2.0))
        return dict(inputs=torch.zeros(3, 4, 6), data_samples=sample)


class Scripted(BaseModel):
    """Its depth is off by so many metres in the 1st, 2nd, ... validation."""

    errors = (0.6, 0.2, 0.4, math.nan)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.register_buffer('trained', torch.zeros((), dtype=torch.long))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            self.trained += 1
            return dict(loss=self.weight.sum())
        for sample in data_samples:
            sample.pred_depth = PixelData(
                data=torch.full((1, 4, 6), 2 + self.errors[self.trained - 1])
            )
        return data_samples


def best_checkpoints(work_dir, labelled=True, **checkpoint):
    def loader(dataset):
        return dict(
            dataset=dataset,
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        )

    hook = dict(Config.fromfile(RUNTIME).default_hooks.checkpoint, interval=1)
    runner = Runner(
        Scripted(),
        str(work_dir),
        experiment_name=work_dir.name,
        default_scope='m2h_mm',
        log_level='WARNING',
        train_dataloader=loader(Frames()),
        train_cfg=dict(by_epoch=False, max_iters=4, val_interval=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_dataloader=loader(Frames(labelled)),
        val_cfg=dict(),
        val_evaluator=dict(
            type='MultiTaskEvaluator',
            tasks=dict(depth=dict()),
            metrics={},
            reference={'depth/rmse': 0.5},
        ),
        default_hooks=dict(
            checkpoint={**hook, **checkpoint}, logger=dict(type='LoggerHook', interval=1)
        ),
    )
    runner.train()
    return runner, sorted(path.name for path in work_dir.glob('best_*.pth'))


def test_the_checkpoint_of_the_highest_gain_is_kept(tmp_path):
    runner, found = best_checkpoints(tmp_path, save_best='delta_m')
    assert found == ['best_delta_m_iter_2.pth']
    logged = [
        json.loads(line)
        for line in next(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()
    ]
    gains = [line['delta_m'] for line in logged if 'delta_m' in line]
    assert gains[:3] == pytest.approx([-20, 60, 20], rel=1e-4) and math.isnan(gains[3])
    assert runner.message_hub.get_info('best_score') == pytest.approx(60, rel=1e-4)


def test_the_lowest_error_is_kept_unless_the_rule_says_otherwise(tmp_path):
    both = dict(save_best=['depth/rmse', 'depth/delta1'])
    assert best_checkpoints(tmp_path / 'guessed', **both)[1] == [
        'best_depth_delta1_iter_2.pth',
        'best_depth_rmse_iter_2.pth',
    ]
    assert best_checkpoints(tmp_path / 'told', save_best='depth/rmse', rule='greater')[1] == [
        'best_depth_rmse_iter_1.pth'
    ]


def test_nan_is_never_the_best(tmp_path):
    assert best_checkpoints(tmp_path, labelled=False, save_best='delta_m')[1] == []
