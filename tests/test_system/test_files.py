"""Files that are whole or not there."""

import os
import resource

import pytest

from m2h_mm.system import remove_temporaries, write_atomically
from m2h_mm.system.files import temporary_beside


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / 'new' / 'a.json'
    write_atomically(path, '{}')
    assert path.read_text() == '{}'

    def fail(source, target):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='No space left'):
        write_atomically(path, '{"new": 1}')
    assert path.read_text() == '{}'
    assert [file.name for file in path.parent.iterdir()] == ['a.json']


@pytest.mark.parametrize('durable', [False, True])
def test_a_full_disk_is_named_with_what_is_missing(tmp_path, durable):
    path = tmp_path / 'a.bin'
    write_atomically(path, b'before', durable)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(
            OSError,
            match=r'a.bin \(3.0 MiB\) could not be written: File too '
            r'large.*free.*Make room',
        ):
            write_atomically(path, bytes(3 * 2**20), durable)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b'before' and os.listdir(tmp_path) == ['a.bin']


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    kept = ['iter_3.pth', 'notes.tmp', 'results.json.7.tmp', 'iter_3.pth.tmp', 'i.pth.mine.tmp']
    for name in (*kept, 'iter_6.pth.4711.tmp', 'best_iter_6.pth.1-0.tmp'):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path, '*.pth')
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
    remove_temporaries(tmp_path / 'missing', '*')


@pytest.mark.parametrize('name', ['m' * 251 + '.npy', 'ü' * 125 + '.npy', 'a b\n%s*.npy'])
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path, name):
    write_atomically(tmp_path / name, b'0')
    assert os.listdir(tmp_path) == [name]


def test_no_two_writers_share_a_temporary_file(tmp_path):
    assert temporary_beside(tmp_path / 'a') != temporary_beside(tmp_path / 'a')


def test_a_name_that_is_not_utf8_is_written_as_the_bytes_that_it_is(tmp_path):
    write_atomically(tmp_path / 'val.txt', os.fsdecode(b'caf\xe9\n'))
    assert (tmp_path / 'val.txt').read_bytes() == b'caf\xe9\n'


@pytest.mark.parametrize(
    ('path', 'kind', 'advice'),
    [
        ('m' * 256, OSError, 'make it shorter'),
        ('file/a', NotADirectoryError, 'another place'),
        ('file/a/b', NotADirectoryError, 'another place'),
        ('folder', IsADirectoryError, 'another name'),
    ],
)
def test_what_the_system_refuses_is_said_with_the_way_out(tmp_path, path, kind, advice):
    (tmp_path / 'file').touch()
    (tmp_path / 'folder').mkdir()
    with pytest.raises(kind, match=f'could not be written.*{advice}'):
        write_atomically(tmp_path / path, b'0')
    assert sorted(os.listdir(tmp_path)) == ['file', 'folder']


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('pathlib.Path.mkdir', refuse)
    with pytest.raises(PermissionError, match='Permission denied. Choose a folder that may be'):
        write_atomically(tmp_path / 'new' / 'a', b'0')
