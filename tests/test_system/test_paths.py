"""Names from files as paths."""

import os
import re
from pathlib import Path

import pytest

import m2h_mm
from m2h_mm.system.paths import id_of_file, path_inside


@pytest.mark.parametrize(
    'name', ['0000', 'scene0/0000.png', 'a b', '..dots', 'a..b/c', '-dash', 'ünï', 'x' * 300]
)
def test_a_name_in_the_folder_is_taken(tmp_path, name):
    assert path_inside(tmp_path / 'missing', name) == tmp_path / 'missing' / name


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('/etc/passwd', 'absolute'),
        ('../other', r"'\.\.'"),
        ('a/../../other', r"'\.\.'"),
        ('a/..', r"'\.\.'"),
        ('..', 'no file'),
        ('', 'no file'),
        ('./', 'no file'),
        ('a\0b', 'zero byte'),
        (7, 'int'),
        (None, 'NoneType'),
        ('link/file', 'through a link'),
    ],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name, reason):
    folder = tmp_path / 'data'
    folder.mkdir()
    os.symlink(tmp_path, folder / 'link')
    with pytest.raises(ValueError, match=reason):
        path_inside(folder, name)


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / 'data').mkdir()
    os.symlink('data', tmp_path / 'link')
    (tmp_path / 'data' / 'frames').mkdir()
    os.symlink('frames', tmp_path / 'data' / 'images')
    assert path_inside(tmp_path / 'link', 'images/0') == tmp_path / 'link' / 'images' / '0'


def test_links_lead_elsewhere_where_they_may(tmp_path):
    (tmp_path / 'data').mkdir()
    os.symlink(tmp_path, tmp_path / 'data' / 'link')
    assert path_inside(tmp_path / 'data', 'link/0', links=True)
    with pytest.raises(ValueError, match=r"'\.\.'"):
        path_inside(tmp_path / 'data', '../0', links=True)


def test_a_circle_of_links_leads_nowhere(tmp_path):
    os.symlink('circle', tmp_path / 'circle')
    assert not path_inside(tmp_path, 'circle/file').exists()


def test_opencv_is_given_bytes_and_no_names():
    """At a name that is not UTF-8 it ends the process."""
    package = Path(m2h_mm.__file__).parent
    sources = {path: path.read_text() for path in package.rglob('*.py')}
    called = [
        path for path, text in sources.items() if re.search(r'cv2\.(im\w+|haveIm\w+)\(', text)
    ]
    assert called
    opened = r'cv2\.(imread|imwrite|haveImageReader|imreadmulti|imcount)\('
    assert not [path for path in called if re.search(opened, sources[path])]


@pytest.mark.parametrize('folder', ['.', '/', 'data', '/data/images', '../images'])
@pytest.mark.parametrize(
    ('file', 'name'),
    [('0000.png', '0000'), ('scene0/0000.PNG', 'scene0/0000'), ('a.b.npy', 'a.b'), ('x', 'x')],
)
def test_the_id_of_a_file(folder, file, name):
    assert id_of_file(Path(folder) / file, Path(folder)) == name
