"""The check of the normals' convention, run as a user runs it."""

import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2h_mm.datasets import NYUDDataset, RoomsDataset

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'dataset_converters' / 'check_normals.py'


@pytest.fixture
def root(tmp_path) -> Path:
    return Path(
        RoomsDataset(
            tmp_path / 'rooms', num_train=2, num_val=1, size=(120, 160), num_workers=0
        ).data_root
    )


@pytest.fixture
def run(monkeypatch, capsys):
    """``run(*arguments)``: exit status and what was printed."""

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['check_normals.py', *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return call


def swap(root: Path) -> dict[str, np.ndarray]:
    """Store (x, -z, y), as one of the releases does; the normals as they were, by file name."""
    before = {}
    for path in (root / 'normals').iterdir():
        before[path.name] = cv2.imread(str(path))[..., ::-1]
        stored = before[path.name][..., [0, 2, 1]].copy()
        stored[..., 1] = 255 - stored[..., 1]
        assert cv2.imwrite(str(path), stored[..., ::-1])
    return before


def test_our_convention_passes(run, root):
    status, said = run(root)
    assert status == 0
    rows = [line for line in said.splitlines() if '°' in line]
    assert len(rows) == 5 and 'x,y,z' in rows[0] and 'nyud-mt' in rows[0]


def test_another_fails_with_its_name_and_is_rewritten(run, root, tmp_path):
    before = swap(root)
    status, said = run(root, '--split', 'val')
    assert status == 1 and 'Clearly not x,y,z: the channels hold x,-z,y' in said
    rows = [line for line in said.splitlines() if '°' in line]
    assert 'refinenet' in rows[0] and 'x,y,z' in rows[-1]
    assert run(root, '--rewrite', root / 'normals')[0] == 1
    for split in ('train', 'val'):
        assert run(root, '--split', split, '--rewrite', tmp_path / 'right')[0] == 0
    assert {path.name for path in (tmp_path / 'right').iterdir()} == set(before)
    for name, stored in before.items():
        written = cv2.imread(str(tmp_path / 'right' / name))[..., ::-1]
        assert np.abs(written.astype(int) - stored).max() <= 2  # a second rounding to 8 bits
    with pytest.raises(ValueError, match='x,-z,y'):
        NYUDDataset(root)
    (root / 'normals').rename(root / 'wrong')
    (tmp_path / 'right').rename(root / 'normals')
    assert len(NYUDDataset(root)) == 2


def test_nothing_to_compare(run, root, tmp_path):
    for path in (root / 'depth').iterdir():
        path.unlink()
    status, said = run(root)
    assert status == 1 and '0 places with depth, normals and a camera' in said
    status, said = run(tmp_path / 'nowhere')
    assert status == 1 and 'nowhere' in said
    assert run(root, '--num-frames', '0')[0] == 2
