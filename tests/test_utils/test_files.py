"""Files that are whole or not there."""

import os

import pytest

from m2h_mm.utils.files import write_atomically


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
