"""Class ids in another label space: by names, as Mono-Hydra and as Hydra write them."""

import numpy as np
import pytest

from m2h_mm.inference.robots.label_space import read_label_space, read_palette

CLASSES = ('wall', 'floor', 'sofa')


@pytest.fixture
def file(tmp_path):
    def write(text: str):
        path = tmp_path / 'space.yaml'
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ('text', 'ids'),
    [
        ('wall: 1\nfloor: 2\nsofa: 14', [1, 2, 14]),
        ('sofa: 14\nothers: 0', [0, 0, 14]),
        ('0: 7\nothers: 3', [7, 3, 3]),
        ('class_info:\n  1: {labels: [0]}\n  5: {labels: [1]}', [1, 5, 2]),
        ('class_info:\n  9: {labels: [0, 2]}', [9, 1, 9]),
        ('- {sub_id: 0, super_id: 1}\n- {sub_id: 2, super_id: 0}', [1, 1, 0]),
    ],
)
def test_every_class_gets_its_id(file, text, ids):
    table = read_label_space(file(text), CLASSES)
    assert table.dtype == np.uint8 and table.shape == (256,)
    assert table[:3].tolist() == ids


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('wall: 1\nfloor: 2', 'it lacks sofa. Expected lines such as'),
        ('wal: 1\nothers: 0', "the model has no such class. It has wall.*Did you mean 'wall'"),
        ('3: 1\nothers: 0', '3: the model has no such class'),
        ('wall: 1\n0: 2\nothers: 0', 'named twice, by its name and its id'),
        ('wall: 256\nothers: 0', 'wall: expected a whole number from 0 to 255, got 256'),
        ('wall: 1.5\nothers: 0', 'got 1.5'),
        ('others: -1', 'others: expected a whole number'),
        ('wall', "Got 'wall'"),
        ('', "Got 'None'"),
        ('a: [', 'is no YAML'),
        ('class_info: {1: [0]}', 'class_info/1: expected "labels:'),
        ('class_info: 3', 'expected "labels:'),
        ('class_info: {1: {labels: [0]}, 2: {labels: [0]}}', 'id 0 becomes both 1 and 2'),
        ('- {sub_id: 1}', 'expected sub_id and super_id'),
    ],
)
def test_mistakes_are_named(file, text, said):
    with pytest.raises(ValueError, match=said):
        read_label_space(file(text), CLASSES)


def test_a_model_without_names_has_ids(file):
    assert read_label_space(file('17: 3\nothers: 1'), ())[[16, 17]].tolist() == [1, 3]
    with pytest.raises(ValueError, match='use their ids'):
        read_label_space(file('wall: 3\nothers: 1'), ())
    with pytest.raises(FileNotFoundError, match='There is no label space'):
        read_label_space('nowhere.yaml', ())


def test_colours_of_a_label_space(file):
    palette = read_palette(file('name,red,green,blue,alpha,id\nwall,174,199,232,255,4\n'))
    assert palette[4].tolist() == [174, 199, 232] and not palette[:4].any()
    with pytest.raises(ValueError, match=r"columns \['id'\] are missing"):
        read_palette(file('red,green,blue\n1,2,3'))
    with pytest.raises(ValueError, match='line 2: expected a whole number from 0 to 255'):
        read_palette(file('red,green,blue,id\n1,2,300,0'))
