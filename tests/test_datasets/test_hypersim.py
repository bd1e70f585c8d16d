"""HypersimDataset; what the converter makes for it is tested with the converter."""

import json

import pytest

from m2h_mm.datasets import HypersimDataset, NYUDDataset, frame_report

PACK = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='PackMultiTaskInputs'),
]


def test_classes_are_those_of_nyu40_and_only_listed_frames_have_a_camera(make_nyud, monkeypatch):
    root = make_nyud()
    (root / 'cameras.json').write_text(json.dumps({'0001': [30, 31, 15, 12]}))
    said = []
    monkeypatch.setattr(frame_report, 'print_log', lambda text, *args, **kwargs: said.append(text))
    dataset = HypersimDataset(root, pipeline=PACK)
    assert (
        dataset.metainfo['classes'] == NYUDDataset.METAINFO['classes']
        and len(dataset.metainfo['classes']) == 40
    )
    cameras = [sample['data_samples'].get('cam2img') for sample in dataset]
    assert cameras[0] is None and cameras[2] is None
    assert cameras[1].tolist() == [[30, 0, 15], [0, 31, 12], [0, 0, 1]]
    assert len(said) == 1 and said[0].endswith(
        'labels semseg 3, depth 3, normals 3, edge 3; cameras 1'
    )


def test_missing_data_names_the_converter(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r'(?s)No data for '
        r'HypersimDataset.*m2h-mm convert-data hypersim',
    ):
        HypersimDataset(tmp_path)
