"""Names from files as paths."""

import os

import pytest

from m2h_mm.system.paths import path_inside


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
