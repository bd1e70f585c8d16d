"""Which frames are drawn, when, and to which files."""

import logging

import pytest
import torch
from label_fields import label_field
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import PixelData
from torch.utils.data import Dataset

from m2h_mm.engine import MultiTaskVisualizationHook
from m2h_mm.engine.hooks import visualization_hook
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import build_tasks


class Frames(Dataset):
    metainfo = dict(classes=('floor', 'wall'))

    def __len__(self):
        return 7

    def __getitem__(self, index):
        sample = MultiTaskDataSample(metainfo=dict(frame_id=f'room/{index}', ori_shape=(8, 12)))
        sample.gt_semseg = label_field(torch.randint(0, 2, (1, 8, 12), dtype=torch.uint8))
        return dict(inputs=torch.zeros(3, 8, 12, dtype=torch.uint8), data_samples=sample)


class Constant(BaseModel):
    def __init__(self):
        super().__init__()
        self.tasks = build_tasks(dict(semseg=dict(num_classes=2), depth={}))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        for sample in data_samples:
            sample.pred_semseg = PixelData(data=torch.ones(1, 8, 12, dtype=torch.long))
        return data_samples


class Count(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return dict(count=len(results))


@pytest.fixture
def make_runner(tmp_path):
    def make(hook: dict, visualizer: str = 'MultiTaskVisualizer') -> Runner:
        def loader():
            return dict(
                dataset=Frames(),
                batch_size=3,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='pseudo_collate'),
            )

        size = dict(panel_size=64) if visualizer == 'MultiTaskVisualizer' else {}
        return Runner(
            Constant(),
            str(tmp_path),
            experiment_name=f'hook{id(hook)}',
            default_scope='m2h_mm',
            log_level='WARNING',
            val_dataloader=loader(),
            val_cfg=dict(),
            val_evaluator=[Count()],
            test_dataloader=loader(),
            test_cfg=dict(),
            test_evaluator=[Count()],
            default_hooks=dict(visualization=dict(type='MultiTaskVisualizationHook', **hook)),
            visualizer=dict(type=visualizer, vis_backends=[dict(type='LocalVisBackend')], **size),
        )

    return make


def pictures(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob('vis_image/*.png'))


def test_validation_draws_the_same_spread_frames(tmp_path, make_runner, caplog):
    runner = make_runner(dict(num_frames=3))
    with caplog.at_level(logging.INFO):
        runner.logger.setLevel(logging.INFO)
        runner.logger.addHandler(caplog.handler)
        runner.val()
        assert pictures(tmp_path) == ['room-0_0.png', 'room-3_0.png', 'room-6_0.png']
        runner.val_loop.run()
    assert len(pictures(tmp_path)) == 3
    said = {record.getMessage() for record in caplog.records if 'Pictures' in record.getMessage()}
    assert said == {
        'Pictures of 3 validation frames: '
        f'{(tmp_path / runner.timestamp / "vis_data" / "vis_image")}'
    }
    assert list(runner.visualizer.tasks) == ['semseg', 'depth'], "the model's tasks"


@pytest.mark.parametrize(('interval', 'drawn'), [(1, 4), (2, 2), (3, 2)])
def test_interval_counts_validations(make_runner, monkeypatch, interval, drawn):
    runner = make_runner(dict(num_frames=1, interval=interval))
    calls = []
    monkeypatch.setattr(
        type(runner.visualizer), 'add_datasample', lambda *args, **kwargs: calls.append(args)
    )
    runner.val()
    for _ in range(3):
        runner.val_loop.run()
    assert len(calls) == drawn


def test_only_the_main_process_draws_a_validation(tmp_path, make_runner, monkeypatch):
    monkeypatch.setattr(visualization_hook, 'is_main_process', lambda: False)
    make_runner(dict(num_frames=3)).val()
    assert pictures(tmp_path) == []


def test_a_test_draws_every_frame_where_it_is_told(tmp_path, make_runner):
    make_runner(dict(show_dir=str(tmp_path / 'shown'))).test()
    assert sorted(path.name for path in (tmp_path / 'shown' / 'room').iterdir()) == [
        f'{i}.png' for i in range(7)
    ]
    assert pictures(tmp_path) == []


def test_a_test_draws_nothing_by_default(tmp_path, make_runner):
    make_runner(dict()).test()
    assert not list(tmp_path.rglob('*.png'))


def test_class_names_reach_the_pictures_of_a_test(tmp_path, make_runner, monkeypatch):
    runner = make_runner(dict(show_dir=str(tmp_path / 'shown')))
    draw, seen = type(runner.visualizer).draw_frame, []
    monkeypatch.setattr(
        type(runner.visualizer),
        'draw_frame',
        lambda self, image, sample, tasks, classes: (
            seen.append(classes),
            draw(self, image, sample, tasks, classes),
        )[1],
    )
    runner.test()
    assert [classes['semseg'] for classes in seen] == [('floor', 'wall')] * 7


def test_errors_name_the_config_key(make_runner):
    with pytest.raises(ValueError, match=r'default_hooks\.visualization'):
        MultiTaskVisualizationHook(num_frames=-1)
    with pytest.raises(ValueError, match='interval'):
        MultiTaskVisualizationHook(interval=0)
    with pytest.raises(TypeError, match=r"type='MultiTaskVisualizer'"):
        make_runner(dict(), visualizer='mmengine.Visualizer').val()
