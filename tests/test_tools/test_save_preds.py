"""The hook behind ``m2h-mm test --save-preds``. That its files give the same metrics: see
test_eval_preds.py.
"""

import shutil

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import PixelData
from torch.utils.data import Dataset

from m2h_mm.datasets.read_folders import read_folders
from m2h_mm.engine.hooks import SavePredictionsHook
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import build_tasks

SIZE = (6, 8)
NAMES = ('semseg', 'depth', 'normals', 'edge')


class Frames(Dataset):
    """No frame has a label."""

    metainfo = {}

    def __init__(self, meta: dict | None = None) -> None:
        self.meta = meta

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict:
        meta = dict(frame_id=f'room/{index}') if self.meta is None else self.meta
        return dict(
            inputs=torch.full((3, *SIZE), index, dtype=torch.uint8),
            data_samples=MultiTaskDataSample(metainfo=dict(ori_shape=SIZE, **meta)),
        )


def predictions(index: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(index)
    return dict(
        semseg=torch.randint(0, 40, (1, *SIZE), generator=generator),
        depth=torch.rand(1, *SIZE, generator=generator) * 9 + 0.1,
        normals=torch.nn.functional.normalize(torch.randn(3, *SIZE, generator=generator), dim=0),
        edge=torch.rand(1, *SIZE, generator=generator),
    )


class Random(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.tasks = build_tasks(NAMES)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        for image, sample in zip(inputs, data_samples, strict=True):
            for name, prediction in predictions(int(image[0, 0, 0])).items():
                sample.set_field(PixelData(data=prediction), self.tasks[name].pred_field)
        return data_samples


class Nothing(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(None)

    def compute_metrics(self, results):
        return {}


@pytest.fixture
def test_with(tmp_path):
    def test(dataset: Dataset | None = None, **hook) -> None:
        loader = dict(
            dataset=dataset or Frames(),
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        )
        cfg = dict(type='SavePredictionsHook', out_dir=str(tmp_path / 'preds'), **hook)
        Runner(
            Random(),
            str(tmp_path / 'work'),
            experiment_name=f'save{id(cfg)}',
            default_scope='m2h_mm',
            log_level='WARNING',
            test_dataloader=loader,
            test_cfg={},
            test_evaluator=[Nothing()],
            custom_hooks=[cfg],
        ).test()

    return test


def saved(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize(
    ('suffix', 'expected'),
    [
        (None, dict(semseg='.png', depth='.npy', normals='.npy', edge='.png')),
        ('.png', dict.fromkeys(NAMES, '.png')),
        ('.npy', dict.fromkeys(NAMES, '.npy')),
    ],
)
def test_every_frame_of_every_task_is_read_back(test_with, tmp_path, suffix, expected):
    test_with(suffix=suffix)
    assert saved(tmp_path / 'preds') == {
        f'{name}/room/{index}{end}' for name, end in expected.items() for index in range(5)
    }
    rounding = dict(semseg=0, depth=0.5e-3 + 1e-6, normals=3**0.5 / 255, edge=0.5 / 255 + 1e-6)
    for name, task in build_tasks(NAMES).items():
        for index in range(5):
            read = task.read_prediction(
                tmp_path / 'preds' / name / 'room' / f'{index}{expected[name]}'
            )
            kept = predictions(index)[name].permute(1, 2, 0).squeeze(-1).numpy()
            off = np.abs(read.astype(np.float64) - kept).max()
            assert off <= (
                rounding[name] if expected[name] == '.png' else 1e-6 if name == 'normals' else 0
            ), name


class NamedFrames(Frames):
    """What a data set knows of its frames beforehand."""

    def __init__(self, root) -> None:
        super().__init__()
        self.root = self.data_root = root

    def get_data_info(self, index: int) -> dict:
        paths = {
            name: str(self.root / name / 'room' / f'{index}.png') for name in ('depth', 'edge')
        }
        return dict(frame_id=f'room/{index}', label_paths=paths, img_path=str(self.root / 'a.png'))


@pytest.mark.parametrize('overwrite', [False, True])
def test_predictions_never_come_among_the_labels(test_with, tmp_path, overwrite):
    root = tmp_path / 'data'
    (root / 'edge' / 'room').mkdir(parents=True)
    (root / 'edge' / 'room' / '1.png').write_text('a label')
    (tmp_path / 'preds').symlink_to(root)
    folders = read_folders(None, [NamedFrames(root).get_data_info(0)])
    assert folders == {root, root / 'depth' / 'room', root / 'edge' / 'room'}
    assert root not in read_folders(NamedFrames(root), [NamedFrames(root).get_data_info(0)])
    with pytest.raises(ValueError, match='Nothing is written into .*edge/room'):
        test_with(NamedFrames(root), suffix='.npy', overwrite=overwrite)
    assert saved(root) == {'edge/room/1.png'}


def test_a_second_test_replaces_nothing_unless_it_is_asked_to(test_with, tmp_path):
    test_with(NamedFrames(tmp_path))
    before = saved(tmp_path / 'preds')
    (tmp_path / 'preds' / 'depth' / 'room' / '0.npy').write_bytes(b'')
    for frames in (NamedFrames(tmp_path), Frames()):
        with pytest.raises(FileExistsError, match='is there already'):
            test_with(frames)
    (tmp_path / 'preds' / 'depth' / 'room').rename(tmp_path / 'preds' / 'depth' / 'hall')
    for name in ('semseg', 'normals', 'edge'):
        shutil.rmtree(tmp_path / 'preds' / name)
    test_with(NamedFrames(tmp_path))  # files of other frames
    shutil.rmtree(tmp_path / 'preds' / 'depth' / 'hall')
    (tmp_path / 'preds' / 'depth' / 'room' / '0.npy').write_bytes(b'')
    test_with(overwrite=True)
    assert saved(tmp_path / 'preds') == before
    assert (tmp_path / 'preds' / 'depth' / 'room' / '0.npy').stat().st_size > 0
    with pytest.raises(ValueError, match=r"depth/room/\d\.npy is there already, .*'depth'.*\.png"):
        test_with(suffix='.png', overwrite=True)


def test_a_file_that_cannot_be_written_ends_the_test(test_with, tmp_path):
    (tmp_path / 'preds').mkdir()
    (tmp_path / 'preds' / 'depth').write_text('in the way')
    with pytest.raises(OSError, match='depth'):
        test_with()


def test_mistakes_are_named(test_with):
    with pytest.raises(ValueError, match=r"SavePredictionsHook.suffix: expected.*got 'png'"):
        SavePredictionsHook('preds', suffix='png')
    with pytest.raises(ValueError, match='no frame_id'):
        test_with(Frames(meta={}))
