"""A folder belongs to one living process."""

import errno
import os
from types import SimpleNamespace

import pytest

from m2h_mm.system import locks
from m2h_mm.system.locks import LOCK, acquire, exclusive


def test_a_folder_is_free_again_when_its_holder_has_ended(tmp_path):
    folder = tmp_path / 'new' / 'folder'
    with exclusive(folder, 'busy'):
        assert acquire(folder) is None
        with (
            pytest.raises(ValueError, match=rf'Somebody trains. \(process {os.getpid()} on '),
            exclusive(folder, 'Somebody trains.'),
        ):
            pass
    acquire(folder).close()


@pytest.mark.parametrize('inherit', [False, True])
def test_a_forked_child_keeps_it_only_where_it_is_meant_to(tmp_path, inherit):
    lock = acquire(tmp_path, inherit=inherit)
    begin, end = os.pipe(), os.pipe()
    child = os.fork()
    if not child:  # waits until it may end
        os.write(begin[1], b'.')
        os.close(end[1])
        os.read(end[0], 1)
        os._exit(0)
    os.read(begin[0], 1)
    lock.close()
    after = acquire(tmp_path)
    os.close(end[1])
    os.waitpid(child, 0)
    assert (after is None) == inherit
    acquire(tmp_path / 'other').close()
    if after is not None:
        after.close()


def test_a_drive_without_locks_is_a_warning(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(locks, 'fcntl', SimpleNamespace(flock=flock, LOCK_EX=2, LOCK_NB=4))
    with pytest.warns(UserWarning, match='cannot be locked.*No locks available'):
        acquire(tmp_path).close()


def test_no_file_behind_a_link_is_written(tmp_path):
    (tmp_path / 'precious').write_text('precious')
    (tmp_path / LOCK).symlink_to(tmp_path / 'precious')
    with pytest.raises(OSError):
        acquire(tmp_path)
    assert (tmp_path / 'precious').read_text() == 'precious'
