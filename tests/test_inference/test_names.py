"""What each input is called."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m2h_mm.inference.names import name_inputs, path_of, root_of, without_results


@pytest.mark.parametrize(
    ('files', 'names'),
    [
        (['a.jpg'], ['a']),
        (['kitchen/frame.png', 'office/frame.png'], ['kitchen/frame', 'office/frame']),
        (['a.jpg', 'a.png', 'b.png'], ['a.jpg', 'a.png', 'b']),
        (['a_000002.png', 's/a.png', 't/a.png'], ['a_000002', 's/a', 't/a']),
        (['a.jpg', 'a.png', 'a.jpg.png'], ['a.jpg', 'a.png', 'a.jpg.png']),
        (['A.png', 'a.png'], ['A', 'a']),
        (['a.png', 'a.png'], ['a.png', 'a.png_2']),
    ],
)
def test_every_input_has_a_name_of_its_own(tmp_path, files, names):
    assert name_inputs([tmp_path / file for file in files]) == names


def test_a_name_does_not_depend_on_what_else_is_there(tmp_path):
    assert name_inputs([tmp_path / 'kitchen' / 'a.jpg'], tmp_path) == ['kitchen/a']
    pixels = np.zeros((2, 2, 3), np.uint8)
    assert name_inputs([pixels, b'', tmp_path / '000000.png']) == [
        '000000.image',
        '000001',
        '000000.png',
    ]


def test_files_of_a_folder_or_a_glob_are_named_below_it(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'b.png').touch()
    assert root_of(tmp_path / 'a') == root_of(tmp_path / 'a' / '*' / 'b.png') == tmp_path / 'a'
    assert root_of(tmp_path / 'a' / '*.png') == tmp_path / 'a'
    assert root_of(tmp_path / 'a' / 'b.png') is None


def test_the_file_behind_an_input(tmp_path):
    path = tmp_path / 'a.png'
    Image.new('L', (2, 2)).save(path)
    with Image.open(path) as image, open(path, 'rb') as file:
        assert path_of(path) == path
        assert [Path(path_of(source)) for source in (image, file, str(path))] == [path] * 3
    assert path_of(np.zeros((2, 2))) is path_of(b'') is path_of(Image.new('L', (2, 2))) is None


def test_results_of_an_earlier_run_are_no_images(tmp_path, capsys):
    files = [tmp_path / 'a.png', tmp_path / 'results' / 'pictures' / 'a.png']
    assert without_results(files, tmp_path, tmp_path / 'results') == files[:1]
    assert '1 images in' in capsys.readouterr().out
    assert without_results(files, tmp_path / '*.png', tmp_path) == files
    assert without_results(files, tmp_path, tmp_path / '..' / 'out') == files
    with pytest.raises(ValueError, match=r'--out-dir: .* is the folder of the images'):
        without_results(files, tmp_path, tmp_path)
