"""Files of tensors are read, others refused."""

import os

import pytest
import torch
from mmengine.logging import HistoryBuffer

from m2h_mm.structures.checkpoint_file import read_checkpoint


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Getattr:
    """Calls ``getattr`` when it is unpickled."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return getattr, self.arguments


def test_curves_of_a_plain_mmengine_are_read_beside_the_weights(tmp_path):
    curve = HistoryBuffer()
    curve.update(3.0)
    torch.save(
        dict(state_dict=dict(weight=torch.ones(2)), message_hub=dict(loss=curve)),
        tmp_path / 'a.pth',
    )
    known = set(torch.serialization.get_safe_globals())
    read = read_checkpoint(tmp_path / 'a.pth')
    assert read['state_dict']['weight'].sum() == 2 and read['message_hub']['loss'].current() == 3
    assert set(torch.serialization.get_safe_globals()) == known


@pytest.mark.parametrize(
    'code',
    [
        Bomb('exploded'),
        Getattr(HistoryBuffer, '__init__'),
        Getattr(torch.Tensor, 'numpy'),
        Getattr(Getattr(HistoryBuffer, 'mean'), '__globals__'),
    ],
)
def test_no_code_is_run(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict=code), 'bomb.pth')
    with pytest.raises(ValueError, match='bomb.pth was not loaded.*could run code'):
        read_checkpoint('bomb.pth')
    assert not os.path.exists('exploded')


def test_a_damaged_or_absent_file_is_named(tmp_path):
    torch.save(dict(weight=torch.ones(1000)), tmp_path / 'whole.pth')
    (tmp_path / 'half.pth').write_bytes((tmp_path / 'whole.pth').read_bytes()[:2000])
    with pytest.raises(ValueError, match='half.pth'):
        read_checkpoint(tmp_path / 'half.pth')
    with pytest.raises(FileNotFoundError, match='none.pth'):
        read_checkpoint(tmp_path / 'none.pth')
