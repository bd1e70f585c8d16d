"""The file of cameras."""

import logging

import pytest

from m2h_mm.datasets import NYUDDataset, frame_report
from m2h_mm.datasets.cameras import read_cameras


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('{"0": [NaN, 1, 2, 3]}', 'finite'),
        ('{"0": [1, 2, NaN, 3]}', 'finite'),
        ('{"0": [Infinity, 1e400, 2, 3]}', 'finite'),
        ('{"0": "1234"}', "'1234'"),
        ('{"0": {"1": 1, "2": 1, "3": 1, "4": 1}}', 'frame'),
        ('{"0": [[1, 0, 2], [0, 1, 2], [0, 0, 1]]}', 'frame'),
        ('{"0": [true, true, false, false]}', 'numbers'),
        ('{"0": ["5", "5", "1", "1"]}', 'numbers'),
        ('{"0": [' + '9' * 5000 + ', 1, 2, 3]}', 'integer string'),
        ('{"0": [1, 1, 2, 3], "0": [1, 1, 2, 4]}', "'0' is there twice"),
        ('[1]', 'a list'),
        ('null', 'NoneType'),
        ('[' * 100000, 'recursion'),
        ('', 'Expecting value'),
        ('{"0": [1, 2,', 'Expecting value'),
        ('\0', ''),
    ],
)
def test_a_file_that_holds_something_else_is_a_message(tmp_path, text, reason):
    (tmp_path / 'cameras.json').write_text(text)
    with pytest.raises(ValueError, match=r'cameras\.json: expected .*fx, fy, cx, cy') as error:
        read_cameras(tmp_path)
    assert reason in str(error.value)


def test_what_is_no_file_is_not_opened(tmp_path):
    (tmp_path / 'cameras.json').symlink_to('/dev/zero')
    with pytest.raises(ValueError, match='it is no file'):
        read_cameras(tmp_path)


def test_a_file_of_another_system(tmp_path):
    (tmp_path / 'cameras.json').write_text('{"0": [1, 1.5, 2, 3]}', encoding='utf-16')
    assert read_cameras(tmp_path) == {'0': [1, 1.5, 2, 3]}


def test_cameras_are_held_against_their_images(make_nyud, monkeypatch):
    said = []
    monkeypatch.setattr(frame_report, 'print_log', lambda *text: said.append(text))
    root = make_nyud(count=2)
    (root / 'cameras.json').write_text('{"0000": [30, 30, 15.5, 11.5], "0001": [30, 30, 99, 12]}')
    NYUDDataset(root, serialize_data=False)
    ((warning, *_),) = (text for text in said if logging.WARNING in text)
    assert "cameras that are doubtful: 1 of 2, such as that of '0001'" in warning
    (root / 'cameras.json').write_text('{"0000": [0.3, 0.4, 0.5, 0.5]}')
    with pytest.raises(ValueError, match=r"cameras\.json, frame '0000'.*Multiply fractions"):
        NYUDDataset(root, serialize_data=False)
