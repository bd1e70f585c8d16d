"""Curves and pictures of a training as files, also on a full disk."""

import json

import numpy as np
import pytest
from full_disk import full_disk

from m2h_mm.registry import VISBACKENDS
from m2h_mm.visualization import LocalVisBackend, local_files


@pytest.fixture
def backend(tmp_path) -> LocalVisBackend:
    backend = VISBACKENDS.build(dict(type='LocalVisBackend', save_dir=str(tmp_path)))
    assert isinstance(backend, LocalVisBackend)
    return backend


def test_curves_and_pictures_are_written(backend, tmp_path):
    backend.add_scalar('lr', np.float32(0.5), step=1)
    backend.add_scalars(dict(loss=2.0), step=1, file_path='1.json')
    lines = (tmp_path / 'scalars.json').read_text().splitlines()
    assert [json.loads(line) for line in lines] == [dict(lr=0.5, step=1), dict(loss=2.0, step=1)]
    assert (tmp_path / '1.json').read_text() == lines[1] + '\n'
    backend.add_image('a', np.zeros((4, 6, 3), np.uint8), step=3)
    assert (tmp_path / 'vis_image' / 'a_3.png').stat().st_size


def test_a_full_disk_is_said_once_and_leaves_no_part_of_a_line_or_picture(
    backend, tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr(local_files, 'print_log', lambda message, *_: said.append(message))
    backend.add_scalar('loss', 1.0, step=1)
    with full_disk(30):
        backend.add_scalar('loss', 2.0, step=2)
        backend.add_scalar('loss', 3.0, step=3)
        backend.add_image('a', np.zeros((4, 6, 3), np.uint8))
    backend.add_scalar('loss', 4.0, step=4)
    lines = (tmp_path / 'scalars.json').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [1, 4]
    assert not list((tmp_path / 'vis_image').iterdir())
    assert len(said) == 1 and 'scalars.json' in said[0] and 'goes on' in said[0]
