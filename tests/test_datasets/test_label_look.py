"""The look at a few labels of every task when a data set is built, and what is stated of files."""

from dataclasses import dataclass

import numpy as np
import pytest

from m2h_mm.datasets import NYUDDataset, label_look
from m2h_mm.datasets.inspection import inspect_dataset
from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks import Doubt, LabelFormat, Task


@dataclass(frozen=True)
class HeatFormat(LabelFormat):
    scale: float = 1.0

    def __post_init__(self):
        if not self.scale > 0:
            raise ValueError(f'scale: expected a number above 0, got {self.scale!r}.')


class Heat(Task):
    """Values above 9 are doubtful, above 99 wrong."""

    folder = 'depth'
    label_format = HeatFormat()

    def read(self, path):
        value = np.load(path).astype(np.float32) * np.float32(self.label_format.scale)
        return Label(value, np.ones(value.shape, bool))

    def inspect(self, path, label):
        yield Doubt('hot', label.value > 9, advice='Set heat.scale.')
        yield Doubt('burning', label.value > 99, certain=True, advice='Set heat.scale.')

    def explain(self, paths, labels):
        return f'of {len(paths)} files up to {max(label.value.max() for label in labels):g}'


@pytest.fixture
def heat(make_nyud, monkeypatch):
    """``heat(number of frames, {frame: largest value}, **arguments)`` builds the data set; ``said``
    is what it logged.
    """
    monkeypatch.setitem(TASKS.module_dict, 'heat', Heat)
    said = []
    monkeypatch.setattr(label_look, 'print_log', lambda text, *rest: said.append((text, rest[1:])))
    roots = []

    def build(count, hottest, **arguments):
        roots.append(make_nyud(count, name=f'heat{len(roots)}'))
        for index in range(count):
            heat = np.ones((24, 32), np.float32)
            heat[0, :8] = hottest.get(index, 1)
            np.save(roots[-1] / 'depth' / f'{index:04d}.npy', heat)
        said.clear()
        return NYUDDataset(roots[-1], tasks=['heat'], **arguments)

    build.said, build.roots = said, roots
    return build


def test_four_labels_spread_over_the_data_set_are_looked_at_and_explained(heat):
    heat(12, {1: 5, 11: 3})
    assert heat.said == [('NYUDDataset train: heat of 4 files up to 3', ())]
    heat(2, {1: 5})
    assert heat.said == [('NYUDDataset train: heat of 2 files up to 5', ())]


def test_frames_that_are_listed_in_another_way_are_looked_at_too(heat):
    heat(2, {0: 500}, lazy_init=True)
    root = heat.roots[-1]

    class Shelf(NYUDDataset):
        def load_data_list(self):
            label = dict(heat=str(root / 'depth' / '0000.npy'))
            return [dict(img_path='x.png', frame_id='x', label_paths=label), dict(img_path='y.png')]

    with pytest.raises(ValueError, match='burning'):
        Shelf(root, tasks=['heat'])
    Shelf(root, tasks=['heat'], label_formats=dict(heat=dict(scale=0.001)))
    assert heat.said == [('Shelf train: heat of 1 files up to 0.5', ())]


def test_what_half_of_them_share_is_a_warning(heat):
    heat(12, {0: 50})
    assert len(heat.said) == 1
    dataset = heat(12, {0: 50, 4: 50})
    text, _ = heat.said[1]
    path = heat.roots[-1] / 'depth' / '0000.npy'
    assert text == (
        f'NYUDDataset train: heat labels, 2 of 4 that were looked at: hot (1.04% of the pixels of '
        f'{path}). Set heat.scale.'
    )
    report = inspect_dataset(dataset, ['train'])
    doubts = [finding for finding in report.findings if 'hot' in finding.kind]
    assert [finding.kind for finding in doubts] == ['heat label: hot. Set heat.scale.'] * 2
    assert doubts[1].item.endswith('0004.npy: 1.04% of the pixels') and not report.is_fatal


def test_what_is_certainly_wrong_is_an_error(heat):
    with pytest.raises(
        ValueError, match=r'heat label .*0004.npy: burning \(1.04% of the pixels\). Set heat.scale.'
    ):
        heat(12, {4: 500})
    dataset = heat(12, {4: 500}, lazy_init=True)
    report = inspect_dataset(dataset, ['train'])
    assert report.is_fatal and any('burning' in finding.kind for finding in report.findings)


def test_a_wrong_label_is_passed_over_where_bad_samples_are_unless_all_are_wrong(heat):
    heat(12, {4: 500}, on_bad_sample='skip')
    assert heat.said == [('NYUDDataset train: heat of 3 files up to 1', ())]
    with pytest.raises(ValueError, match='burning'):
        heat(12, dict.fromkeys((0, 4, 7, 11), 500), on_bad_sample='skip')


def test_how_files_are_read_can_be_stated(heat):
    dataset = heat(2, {0: 500}, label_formats=dict(heat=dict(scale=0.001)))
    assert heat.said == [('NYUDDataset train: heat of 2 files up to 0.5', ())]
    path = heat.roots[-1] / 'depth' / '0000.npy'
    task = dataset.tasks['heat']
    assert task.read(path).value.max() == 0.5
    assert task.with_format().read(path).value.max() == 0.5
    assert task.for_predictions().read(path).value.max() == 500
    assert task.for_predictions(scale=2).read(path).value.max() == 1000
    assert Heat().read(path).value.max() == 500


@pytest.mark.parametrize(
    ('formats', 'message'),
    [
        (dict(heat=dict(scal=2)), r"label_formats.heat.scal: .* \['scale'\]. .*mean 'scale'"),
        (dict(heat=dict(scale=-1)), 'label_formats.heat.scale: expected a number above 0, got -1'),
        (dict(heet=dict(scale=2)), r"label_formats.heet: .*\['heat'\]. Did you mean 'heat'"),
        (dict(heat=2), 'label_formats.heat: expected a dict'),
        (dict(human_parts=dict(x=1)), None),
    ],
)
def test_what_cannot_be_stated_is_named_by_its_place(heat, formats, message):
    """A task that this data set does not have may be stated."""
    if message is None:
        heat(1, {}, label_formats=formats)
        return
    with pytest.raises(ValueError, match=message):
        heat(1, {}, label_formats=formats)
