"""How a data set's files number and colour the classes, from config to label."""

import cv2
import numpy as np
import pytest

from m2h_mm.datasets import MultiTaskDataset, NYUDDataset, label_look
from m2h_mm.tasks.semseg.colours import class_colours


@pytest.fixture
def said(monkeypatch):
    """What the look at the first labels logged."""
    said = []
    monkeypatch.setattr(label_look, 'print_log', lambda text, *rest: said.append(text))
    return said


@pytest.fixture
def rewrite(make_nyud):
    """``rewrite(function)``: two frames whose segmentation ``function`` changed."""

    def rewrite(change, suffix='.png'):
        root = make_nyud(2)
        for path in (root / 'segmentation').iterdir():
            stored = change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
            path.unlink()
            stored = stored[..., ::-1] if stored.ndim == 3 else stored
            path.with_suffix(suffix).write_bytes(cv2.imencode('.png', stored)[1].tobytes())
        return root

    return rewrite


def read(dataset):
    return dataset.tasks['semseg'].read(dataset.get_data_info(0)['label_paths']['semseg'])


def test_labels_from_which_one_was_taken_already_are_questioned(rewrite, said):
    root = rewrite(lambda ids: np.where(ids == 40, 255, ids).astype(np.uint8))
    NYUDDataset(root, tasks=['semseg'])
    assert len(said) == 1 and '255 beside 0' in said[0] and 'semseg.first=0' in said[0]
    said.clear()
    dataset = NYUDDataset(root, tasks=['semseg'], label_formats=dict(semseg=dict(first=0)))
    assert read(dataset).value.max() == 39 and not said
    assert NYUDDataset(root, tasks=['semseg'], reduce_zero_label=False).tasks and not said


def test_the_palette_of_the_data_set(rewrite, said):
    colours = np.concatenate([[[1, 2, 3]], class_colours(40)]).astype(np.uint8)
    root = rewrite(lambda ids: colours[ids])
    with pytest.raises(ValueError, match=r'colours.*semseg\.palette'):
        NYUDDataset(root, tasks=['semseg'])
    with pytest.raises(ValueError, match=r'the colours \[\(1, 2, 3\)\]'):
        NYUDDataset(root, tasks=['semseg'], label_formats=dict(semseg=dict(palette='dataset')))
    void = [*class_colours(40).tolist(), (1, 2, 3)]
    label = read(NYUDDataset(root, tasks=['semseg'], label_formats=dict(semseg=dict(palette=void))))
    assert label.value.max() == 39 and 0 < (~label.valid).sum() < 40 and not said
    with pytest.raises(ValueError, match='semseg.palette: the data set has none'):
        MultiTaskDataset(root, tasks=['semseg'], label_formats=dict(semseg=dict(palette='dataset')))


def test_suffixes_in_capitals(rewrite, said):
    root = rewrite(lambda ids: ids, '.PNG')
    dataset = NYUDDataset(root, tasks=['semseg'])
    assert read(dataset).valid.any() and not said
