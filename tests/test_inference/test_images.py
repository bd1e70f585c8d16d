"""Listing images, and what a call of the inferencer may name."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from m2h_mm.inference.images import list_images, list_sources


def test_files_folders_and_patterns_are_listed(tmp_path):
    for name in ('b.JPG', 'a.png', 'deep/c.webp', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(source):
        return [path.name for path in list_images(source)]

    assert names(tmp_path / 'notes.txt') == ['notes.txt']  # named: it is up to the reader
    assert names(tmp_path) == ['a.png', 'b.JPG', 'c.webp']
    assert names(str(tmp_path / '*.png')) == ['a.png']
    assert names(str(tmp_path / '**' / '*')) == ['a.png', 'b.JPG', 'c.webp']
    for missing in ('nothing', '*.bmp'):
        with pytest.raises(FileNotFoundError, match='Input: there is no file or folder'):
            list_images(tmp_path / missing)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='no file in the folder'):
        list_images(tmp_path / 'empty')
    (tmp_path / 'empty' / 'clip.mov').touch()
    with pytest.raises(FileNotFoundError, match=r'There are other suffixes: 1 \.mov'):
        list_images(tmp_path / 'empty')


def test_what_is_no_file_is_not_opened_and_what_is_left_out_is_said(tmp_path, capsys):
    (tmp_path / 'a.png').touch()
    os.mkfifo(tmp_path / 'pipe.png')
    os.symlink(tmp_path, tmp_path / 'loop')
    assert [path.name for path in list_images(tmp_path)] == ['a.png']
    said = capsys.readouterr().out
    assert 'links to nothing, pipes and the like: 1' in said and 'listed already' in said
    with pytest.raises(ValueError, match='no ordinary file'):
        list_images(tmp_path / 'pipe.png')


def test_one_or_several_images_of_any_kind_are_listed():
    picture, pixels = Image.new('RGB', (3, 2)), np.zeros((2, 3, 3), np.uint8)
    for source in (picture, pixels, b'png', bytearray(b'png'), io.BytesIO(b'png')):
        assert list_sources(source) == [source] if source is not pixels else list_sources(source)
        assert len(list_sources([source, source])) == len(list_sources(iter((source,) * 2))) == 2
    assert list_sources([]) == []


@pytest.mark.parametrize(
    ('inputs', 'message'),
    [
        (7, '^inputs: expected a file, .* PIL image .* got int'),
        (None, 'got NoneType'),
        ({'a': b'png'}, 'got dict'),
        (torch.zeros(3, 4, 5), r'got Tensor.*permute\(1, 2, 0\)'),
        ([b'png', torch.zeros(3, 4, 5)], r'^inputs\[1\]: .*got Tensor'),
        ([[1, 2], [3, 4]], r'^inputs\[0\]: .*got list'),
    ],
)
def test_what_is_no_image_is_named(inputs, message):
    with pytest.raises(ValueError, match=message):
        list_sources(inputs)
