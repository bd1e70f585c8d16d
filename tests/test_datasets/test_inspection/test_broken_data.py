"""Every way to break a data set is found, and what is fatal is what training fails on."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2h_mm.datasets import NYUDDataset

from .conftest import SIZE, found, inspect, put, write

LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]


def training_fails(root: Path) -> bool:
    try:
        for split in ('train', 'val'):
            list(NYUDDataset(root, split, pipeline=LOAD))
    except (ValueError, OSError):
        return True
    return False


def cut(path: str, share: float = 0.5) -> Callable[[Path], None]:
    def breaks(root: Path) -> None:
        content = (root / path).read_bytes()
        (root / path).write_bytes(content[: int(len(content) * share)])

    return breaks


def spoil(path: str) -> Callable[[Path], None]:
    """Damage inside, which the header and the end of the file do not show."""

    def breaks(root: Path) -> None:
        content = bytearray((root / path).read_bytes())
        content[len(content) // 3 : len(content) // 3 + 40] = bytes(40)
        (root / path).write_bytes(content)

    return breaks


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def cut_jpeg(root: Path) -> None:
    """Without its last two bytes, which not every version of OpenCV misses."""
    picture = cv2.imread(str(root / 'images' / '0003.png'))
    (root / 'images' / '0003.png').unlink()
    (root / 'images' / '0003.jpg').write_bytes(cv2.imencode('.jpg', picture)[1].tobytes()[:-2])


def lists(**splits: str) -> Callable[[Path], None]:
    def breaks(root: Path) -> None:
        for split, text in splits.items():
            (root / 'gt_sets' / f'{split}.txt').write_text(text)

    return breaks


def remove_all_edges(root: Path) -> None:
    for path in (root / 'edge').iterdir():
        path.unlink()


SHARE = '12.50% of the pixels'  # 6 of 48 rows
BREAKS = {
    'image_missing': (remove('images/0001.png'), 'frame of train without an image', '0001', True),
    'no_images': (
        lambda root: [path.unlink() for path in (root / 'images').iterdir()],
        'there are no images',
        'images',
        True,
    ),
    'image_cut': (cut('images/0003.png'), 'image that cannot be read', '0003.png', True),
    'image_cut_jpeg': (cut_jpeg, 'image that cannot be read', '0003.jpg', True),
    'image_spoilt': (spoil('images/0003.png'), 'image that cannot be read', '0003.png', True),
    'depth_empty': (cut('depth/0002.npy', 0), 'depth label that cannot be used', '0002.npy', True),
    'semseg_spoilt': (
        spoil('segmentation/0002.png'),
        'semseg label that cannot be used',
        '0002.png',
        True,
    ),
    'normals_cut': (cut('normals/0004.npy'), 'normals label that cannot be used', '0004.npy', True),
    'edge_size': (
        write('edge/0000.png', lambda edge: edge[:-1]),
        'edge label that cannot be used',
        '47x64',
        True,
    ),
    'semseg_class': (
        write('segmentation/0000.png', put(77)),
        'semseg label that cannot be used',
        '[77]',
        True,
    ),
    'depth_colour': (
        write('depth/0000.npy', lambda depth: np.stack([depth, depth, depth + 1], -1)),
        'depth label that cannot be used',
        'colours',
        True,
    ),
    'list_missing': (
        remove('gt_sets/val.txt'),
        'list of frames that is missing or empty',
        'val.txt',
        True,
    ),
    'list_empty': (
        lists(train='\n \n'),
        'list of frames that is missing or empty',
        'train.txt',
        True,
    ),
    'cameras': (
        lambda root: (root / 'cameras.json').write_text('{"0000": [1, 2]}'),
        'cameras that cannot be used',
        'cameras.json',
        True,
    ),
    'in_two': (
        lists(val='0002\n0003\n0004\n'),
        'in more than one split',
        '0002: train, val',
        False,
    ),
    'twice': (lists(val='0003\n0003\n0004\n'), 'more than once in val', '0003', False),
    'unlisted': (lists(val='0003\n'), 'image that is in no list', '0004.png', False),
    'no_label': (remove('depth/0001.npy'), 'frame of train without a depth label', '0001', False),
    'no_labels_of_a_task': (remove_all_edges, 'no frame of val has a label', 'edge', False),
    'label_alone': (
        lambda root: np.save(root / 'depth' / '0009.npy', np.ones(SIZE)),
        'depth label without an image',
        '0009.npy',
        False,
    ),
    'depth_negative': (
        write('depth/0000.npy', lambda depth: depth - 5),
        'depth label: negative numbers of several values. Write depth as positive numbers, 0 where '
        'there is none.',
        'of the pixels',
        False,
    ),
    'depth_away': (
        write('depth/0000.npy', lambda depth: -depth),
        'depth label: nothing but negative numbers. Write depth as positive numbers, 0 where there '
        'is none.',
        '95.83% of the pixels',
        True,
    ),
    'depth_8_bits': (
        write('depth/0000.npy', lambda depth: (depth * 25).astype(np.uint8)),
        'depth label that cannot be used',
        "label_formats.depth.unit='10/255' where 255 is 10 m",
        True,
    ),
    'depth_far': (
        write('depth/0000.npy', lambda depth: depth * 1000),
        'depth label: mostly beyond max_depth = 10 m, which is never predicted: another unit? It '
        "would fit with label_formats.depth.unit='mm'. If these are metres, raise "
        'tasks.depth.max_depth.',
        '95.83% of the pixels',
        False,
    ),
    'depth_unit': (
        write('depth/0000.npy', lambda depth: depth / 1000),
        'depth label: nearer than 0.1 m everywhere: another unit? If it is right, say so: '
        "label_formats.depth.unit='m'.",
        '95.83% of the pixels',
        False,
    ),
    'depth_sentinel': (
        write('depth/0000.npy', put(65504)),
        'depth label: 65504, the largest number of a 16-bit type, looks like a sign for no '
        'measurement. If so: label_formats.depth.invalid=[65504].',
        SHARE,
        False,
    ),
    'depth_void': (
        write('depth/0000.npy', put(0, slice(None))),
        'depth label: no valid pixel',
        '100.00%',
        False,
    ),
    'semseg_void': (
        write('segmentation/0000.png', put(255, slice(None))),
        'semseg label: no valid pixel',
        '100.00%',
        False,
    ),
    'normals_length': (
        write('normals/0000.npy', put(0.8)),
        'normals label: not unit vectors, which they are made when read',
        SHARE,
        False,
    ),
    'normals_away': (
        write('normals/0000.npy', lambda normals: normals * np.where(normals[..., 2:] > 0, -1, 1)),
        'normals label: most point away from the camera: another convention? m2h-mm check-normals '
        'finds it where there is depth; it is stated by '
        "label_formats.normals.convention='x,-y,-z'.",
        '0000.npy',
        False,
    ),
    'normals_encoded': (
        write('normals/0000.npy', lambda normals: (normals + 1) / 2),
        'normals label: no unit vectors if read from -1..1, but from 0..1. Say so: '
        'label_formats.normals.range=[0, 1].',
        '0000.npy',
        True,
    ),
    'normals_complex': (
        write('normals/0000.npy', lambda normals: normals.astype(complex)),
        'normals label that cannot be used',
        'complex128',
        True,
    ),
    'edge_values': (
        write('edge/0000.png', put(7)),
        'edge label: other values than 0 and 255',
        SHARE,
        False,
    ),
}


def test_nothing_is_found_where_nothing_is_wrong(root):
    # Half of these random normals point away.
    for path in (root / 'normals').iterdir():
        normals = np.load(path)
        normals[..., 2] = np.abs(normals[..., 2])
        np.save(path, normals)
    # What was not measured.
    for file in ('depth/0000.npy', 'normals/0001.npy'):
        for value, rows in ((np.nan, slice(0, 4)), (np.inf, slice(4, 8)), (-1, slice(8, 9))):
            if not (value < 0 and 'normals' in file):
                write(file, put(value, rows))(root)
    write('depth/0001.npy', put(1e10))(root)
    assert not found(inspect(root)) and not inspect(root).is_fatal and not training_fails(root)


@pytest.mark.parametrize('case', BREAKS)
def test_each_way_to_break_it_is_found_and_fatal_is_what_training_fails_on(root, case):
    breaks, kind, words, fatal = BREAKS[case]
    breaks(root)
    report = inspect(root)
    items = found(report).get((kind, fatal))
    assert items and any(words in item for item in items), found(report)
    assert report.is_fatal == fatal == training_fails(root)


def test_all_that_is_wrong_is_found_in_one_pass(root):
    """All frames but one are broken, some twice; every file is named."""
    cases = [
        'image_cut',
        'image_missing',
        'depth_empty',
        'semseg_spoilt',
        'edge_size',
        'semseg_class',
        'normals_cut',
        'depth_sentinel',
        'twice',
        'label_alone',
        'cameras',
        'normals_length',
        'no_label',
    ]
    for case in cases:
        BREAKS[case][0](root)
    kinds = found(inspect(root))
    for case in cases:
        _, kind, words, fatal = BREAKS[case]
        assert any(words in item for item in kinds[kind, fatal]), case
    assert len(kinds['semseg label that cannot be used', True]) == 2
