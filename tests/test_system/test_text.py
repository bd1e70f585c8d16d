"""Text files of any writer."""

import os

import pytest

from m2h_mm.system.text import read_json, read_lines, read_text


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be'])
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_lines_whatever_wrote_them(tmp_path, encoding, end):
    path = tmp_path / 'val.txt'
    path.write_bytes(end.join(['0000', '', ' scene0/ü 名 ', 'x\x85y', '']).encode(encoding))
    assert read_lines(path) == ['0000', 'scene0/ü 名', 'x\x85y']


def test_files_that_were_put_together(tmp_path):
    (tmp_path / 'a').write_bytes('\ufeff0000\n'.encode() + '\ufeff0001\n'.encode())
    assert read_lines(tmp_path / 'a') == ['0000', '0001']
    (tmp_path / 'a').write_bytes(b'')
    assert read_lines(tmp_path / 'a') == []


def test_bytes_that_are_not_utf8_are_those_of_the_files_name(tmp_path):
    (tmp_path / 'a').write_bytes(b'caf\xe9\n')
    assert read_lines(tmp_path / 'a') == [os.fsdecode(b'caf\xe9')]


def test_half_a_character_is_named(tmp_path):
    (tmp_path / 'a.txt').write_bytes('0000'.encode('utf-16') + b'0')
    with pytest.raises(ValueError, match=r'a\.txt is no text.*UTF-8'):
        read_text(tmp_path / 'a.txt')


@pytest.mark.parametrize('text', ['', '{', '[1]', '[' * 100000])
def test_a_file_that_holds_no_object_is_named_with_what_is_expected(tmp_path, text):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(ValueError, match=r'a\.json cannot be read .*Expected a recipe'):
        read_json(tmp_path / 'a.json', 'a recipe')
    (tmp_path / 'a.json').write_text('{"b": 1}', encoding='utf-8-sig')
    assert read_json(tmp_path / 'a.json', 'a recipe') == {'b': 1}
