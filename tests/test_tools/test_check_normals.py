"""The check of the normals' convention, run as a user runs it."""

import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2h_mm.datasets import NYUDDataset, RoomsDataset


@pytest.fixture(scope='module')
def rooms(tmp_path_factory) -> Path:
    return Path(
        RoomsDataset(
            tmp_path_factory.mktemp('rooms'), num_train=2, num_val=1, size=(120, 160), num_workers=0
        ).data_root
    )


@pytest.fixture
def root(rooms, tmp_path) -> Path:
    return Path(shutil.copytree(rooms, tmp_path / 'rooms'))


@pytest.fixture
def check(run):
    """``check(*arguments, status=0)``: what the command printed."""
    return partial(run, 'check-normals')


def swap(root: Path) -> dict[str, np.ndarray]:
    """Store (x, -z, y), as one of the releases does; the normals as they were, by file name."""
    before = {}
    for path in (root / 'normals').iterdir():
        before[path.name] = cv2.imread(str(path))[..., ::-1]
        stored = before[path.name][..., [0, 2, 1]].copy()
        stored[..., 1] = 255 - stored[..., 1]
        assert cv2.imwrite(str(path), stored[..., ::-1])
    return before


def test_our_convention_passes(check, root):
    said = check(root)
    rows = [line for line in said.splitlines() if '°' in line]
    assert len(rows) == 5 and 'x,y,z' in rows[0] and 'nyud-mt' in rows[0]


def test_another_fails_with_its_name_and_is_rewritten(check, root, tmp_path):
    before = swap(root)
    said = check(root, '--split', 'val', status=1)
    assert 'Clearly not x,y,z: the channels hold x,-z,y' in said
    assert "label_formats.normals.convention='x,-z,y'" in said
    check(root, '--label-format', 'normals.convention=x,-z,y')
    rows = [line for line in said.splitlines() if '°' in line]
    assert 'refinenet' in rows[0] and 'x,y,z' in rows[-1]
    said = check(root, '--label-format', 'normals.convention=geonet', status=1)
    rows = [line for line in said.splitlines() if '°' in line]
    assert 'the channels hold x,-z,y' in said and 'refinenet' in rows[0] and 'geonet' in rows[-1]
    check(root, '--rewrite', root / 'normals', status=1)
    for split in ('train', 'val'):
        check(root, '--split', split, '--rewrite', tmp_path / 'right')
    assert {path.name for path in (tmp_path / 'right').iterdir()} == set(before)
    for name, stored in before.items():
        written = cv2.imread(str(tmp_path / 'right' / name))[..., ::-1]
        assert np.abs(written.astype(int) - stored).max() <= 2  # a second rounding to 8 bits
    with pytest.raises(ValueError, match='x,-z,y'):
        NYUDDataset(root)
    (root / 'normals').rename(root / 'wrong')
    (tmp_path / 'right').rename(root / 'normals')
    assert len(NYUDDataset(root)) == 2


def test_nothing_to_compare(check, root, tmp_path):
    for path in (root / 'depth').iterdir():
        path.unlink()
    assert '0 places with depth, normals and a camera' in check(root, status=1)
    assert 'nowhere' in check(tmp_path / 'nowhere', status=1)
    check(root, '--num-frames', '0', status=2)


def test_normals_from_0_to_1_are_recognised_and_read_if_it_is_stated(check, root):
    for path in (root / 'normals').iterdir():
        np.save(path.with_suffix('.npy'), cv2.imread(str(path))[..., ::-1] / np.float32(255))
        path.unlink()
    assert 'label_formats.normals.range=[0, 1]' in check(root, status=1)
    check(root, '--label-format', 'normals.range=[0,1]')


def test_nothing_is_rewritten_where_no_convention_fits(check, root, tmp_path):
    rng = np.random.default_rng(0)
    for path in (root / 'normals').iterdir():
        vectors = rng.normal(size=(120, 160, 3))
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        cv2.imwrite(str(path), np.rint((vectors + 1) * 127.5).astype(np.uint8))
    said = check(root, '--rewrite', tmp_path / 'out', status=1)
    assert 'No convention fits' in said and not list((tmp_path / 'out').glob('*'))
