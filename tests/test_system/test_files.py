"""Files that are whole or not there."""

import os
import resource

import pytest

from m2h_mm.system import remove_temporaries, write_atomically


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
    kept = ['iter_3.pth', 'notes.tmp', 'results.json.7.tmp', 'iter_3.pth.tmp']
    for name in (*kept, 'iter_6.pth.4711.tmp', 'best_iter_6.pth.1.tmp'):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path, '*.pth')
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
    remove_temporaries(tmp_path / 'missing', '*')
