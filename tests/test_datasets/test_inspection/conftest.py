"""A data set without a fault, ways to change its files, and what an inspection finds."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2h_mm.datasets import NYUDDataset
from m2h_mm.datasets.inspection import Inspection, inspect_dataset

SIZE = (48, 64)


def inspect(
    root: Path, splits: tuple[str, ...] = ('train', 'val'), kind: type = NYUDDataset, **options
) -> Inspection:
    return inspect_dataset(kind(root, lazy_init=True, **options), splits)


def found(report: Inspection) -> dict[tuple[str, bool], list[str]]:
    """What and whether it is fatal, to the items; without the classes, which noise happens to lack
    or not.
    """
    kinds = {}
    for finding in report.findings:
        if not finding.kind.startswith('class of'):
            kinds.setdefault((finding.kind, finding.fatal), []).append(finding.item)
    return kinds


@pytest.fixture
def root(make_nyud) -> Path:
    """Five frames: three of train, two of val; nothing is wrong."""
    folder = make_nyud(count=5, size=SIZE, normals='.npy')
    (folder / 'gt_sets' / 'train.txt').write_text('0000\n0001\n0002\n')
    (folder / 'gt_sets' / 'val.txt').write_text('0003\n0004\n')
    return folder


def write(path: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    """Breaks an array or picture: ``change`` works in place, or returns another."""

    def breaks(root: Path) -> None:
        file = root / path
        array = (
            np.load(file) if file.suffix == '.npy' else cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        )
        changed = change(array)
        array = array if changed is None else changed
        if file.suffix == '.npy':
            np.save(file, array)
        else:
            cv2.imwrite(str(file), array)

    return breaks


def put(value: float, rows: slice = slice(0, 6)) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array[rows] = value

    return change
