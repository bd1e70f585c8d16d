"""What is written to a full disk, or by a library that does not notice it."""

import os

import pytest
from full_disk import full_disk

from m2h_mm.system.files import append_line, replacing
from m2h_mm.system.locks import acquire, holder


@pytest.mark.parametrize(
    ('content', 'size'), [(b'', None), (b'', 3), (b'12', 3), (b'1234', 3), (None, None)]
)
def test_what_a_library_wrote_is_looked_at(tmp_path, content, size):
    path = tmp_path / 'a.bin'
    path.write_bytes(b'before')
    with pytest.raises(OSError, match='a.bin.* could not be written'):
        with replacing(path, size) as temporary:
            if content is not None:
                temporary.write_bytes(content)
    assert os.listdir(tmp_path) == ['a.bin'] and path.read_bytes() == b'before'


def test_a_library_may_write_whatever_it_likes_and_its_errors_stay_what_they_are(tmp_path):
    path = tmp_path / 'new' / 'a.bin'
    with replacing(path) as temporary:
        temporary.write_bytes(b'123')
    with replacing(tmp_path / 'empty', 0) as temporary:
        temporary.touch()
    assert path.read_bytes() == b'123' and (tmp_path / 'empty').read_bytes() == b''
    with pytest.raises(RuntimeError, match='of the library'):
        with replacing(path) as temporary:
            temporary.write_bytes(b'4')
            raise RuntimeError('of the library')
    assert os.listdir(path.parent) == ['a.bin'] and path.read_bytes() == b'123'


def test_a_line_is_whole_or_not_there(tmp_path):
    path = tmp_path / 'a.jsonl'
    append_line(path, 'one')
    with full_disk(7), pytest.raises(OSError, match='a.jsonl .* could not be written.*Make room'):
        append_line(path, 'a longer one')
    append_line(path, 'two')
    assert path.read_text() == 'one\ntwo\n'


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='a disk that is always full, of Linux')
def test_a_line_on_a_disk_without_a_byte_left():
    with pytest.raises(OSError, match='/dev/full .* No space left on device'):
        append_line('/dev/full', 'one')


def test_a_folder_on_a_full_disk_can_be_taken(tmp_path):
    with full_disk(), acquire(tmp_path) as lock:
        assert lock is not None and holder(tmp_path) == 'another process'
