"""Listing folders."""

import os

import pytest

from m2h_mm.system.folders import HIDDEN, LINKED_AGAIN, NO_FILE, list_files, match_files

SUFFIXES = ('.png', '.jpg')


@pytest.fixture
def names(tmp_path):
    def touch(*names):
        for name in names:
            path = tmp_path / 'data' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / 'data'

    return touch


def listed(folder):
    listing = list_files(folder, SUFFIXES)
    return [path.relative_to(folder).as_posix() for path in listing.files], listing


def test_files_below_a_folder_and_what_is_left_out(names):
    folder = names('b/1.png', 'a/1.PNG', 'a/2.jpg', '0.jpg', 'n.txt', 'a/m.txt', 'raw', '.h.png')
    names('.cache/x.png', 'x.TIF')
    files, listing = listed(folder)
    assert files == ['0.jpg', 'a/1.PNG', 'a/2.jpg', 'b/1.png']
    assert [path.name for path in listing.left_out[HIDDEN]] == ['.h.png']
    assert listing.summary() == (
        f"hidden files: 1, such as '{folder}/.h.png'; other suffixes: 2 .txt, 1 none, 1 .tif"
    )
    assert list_files(folder / 'b', SUFFIXES).summary() == ''


def test_every_folder_is_listed_once_whatever_links_lead_to_it(names, tmp_path):
    folder = names('sub/1.png', 'zub/2.png')
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere' / '3.png').touch()
    os.symlink(folder, folder / 'sub' / 'loop')
    os.symlink(tmp_path, folder / 'above')
    os.symlink(folder / 'zub', folder / 'a_second_name')
    os.symlink(tmp_path / 'elsewhere', folder / 'disk2')
    os.symlink(tmp_path / 'elsewhere', folder / 'disk3')
    os.symlink(folder / 'disk2', tmp_path / 'elsewhere' / 'back')
    os.symlink(folder / 'sub' / '1.png', folder / 'file.png')
    files, listing = listed(folder)
    assert files == ['disk2/3.png', 'file.png', 'sub/1.png', 'zub/2.png']
    names_of_links = {path.name for path in listing.left_out[LINKED_AGAIN]}
    assert names_of_links == {'loop', 'above', 'a_second_name', 'disk3', 'back'}
    assert 'links to folders that are listed already, or above: 5, such as' in listing.summary()


def test_what_is_no_file_is_not_opened(names):
    folder = names('1.png')
    (folder / 'folder.png').mkdir()
    os.mkfifo(folder / 'pipe.png')
    os.symlink('nothing', folder / 'dangling.png')
    os.symlink('self.png', folder / 'self.png')
    os.symlink('/dev/zero', folder / 'zero.png')
    files, listing = listed(folder)
    assert files == ['1.png'] and len(listing.left_out[NO_FILE]) == 4


def test_names_of_any_bytes(names):
    odd = [os.fsdecode(b'caf\xe9.png'), 'new\nline.png', ' a b .png', '名.png', 'x' * 251 + '.png']
    assert listed(names(*odd))[0] == sorted(odd)


def test_a_folder_that_is_not_there_or_may_not_be_read(names, tmp_path, monkeypatch):
    with pytest.raises(OSError, match='lost cannot be listed: No such file'):
        list_files(tmp_path / 'lost', SUFFIXES)
    folder = names('open/1.png', 'closed/2.png')
    scan = os.scandir

    def refuse(path):
        if path.name == 'closed':
            raise PermissionError(13, 'Permission denied')
        return scan(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    files, listing = listed(folder)
    assert files == ['open/1.png'] and 'folders that cannot be listed: 1' in listing.summary()


def test_patterns(names):
    folder = names('a.png', 'b.PNG', 'deep/c.png', 'deep/er/d.jpg', 'n.txt', 'odd[1].png')
    os.symlink(folder, folder / 'deep' / 'loop')
    os.symlink(folder / 'deep', folder / 'deep' / 'er' / 'loop')

    def matched(pattern):
        listing = match_files(folder / pattern, SUFFIXES)
        return [path.relative_to(folder).as_posix() for path in listing.files], listing.summary()

    assert matched('*.png') == (['a.png', 'odd[1].png'], '')
    assert matched('deep/*')[0] == ['deep/c.png'] and 'folders: 2' in matched('deep/*')[1]
    assert matched('**/*.png')[0] == ['a.png', 'deep/c.png', 'odd[1].png']
    assert matched('**/deep/**')[0] == ['deep/c.png', 'deep/er/d.jpg']
    assert matched('d*/**/d.jpg')[0] == ['deep/er/d.jpg']
    assert 'listed already' in matched('**/*')[1]
    assert matched('x/**/*') == matched('*.x') == ([], '')
    assert matched('n*')[1] == 'other suffixes: 1 .txt'
