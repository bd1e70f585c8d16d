"""Data sets that are broken in every way: each is found, all in one pass, and fatal is what
training fails on.
"""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2h_mm.datasets import MultiTaskDataset, NYUDDataset
from m2h_mm.datasets.inspection import Inspection, inspect_dataset

LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]
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


def training_fails(root: Path) -> bool:
    try:
        for split in ('train', 'val'):
            list(NYUDDataset(root, split, pipeline=LOAD))
    except (ValueError, OSError):
        return True
    return False


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
        write('depth/0000.npy', lambda depth: np.stack([depth] * 3, -1)),
        'depth label that cannot be used',
        '(48, 64, 3)',
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
    'depth_nan': (
        write('depth/0000.npy', put(np.nan)),
        'depth label: NaN or infinity, which counts as not measured',
        SHARE,
        False,
    ),
    'depth_negative': (
        write('depth/0000.npy', put(-1)),
        'depth label: negative, which counts as not measured',
        SHARE,
        False,
    ),
    'depth_far': (
        write('depth/0000.npy', put(10.5)),
        'depth label: farther than max_depth = 10 m, which is never predicted',
        SHARE,
        False,
    ),
    'depth_unit': (
        write('depth/0000.npy', lambda depth: depth / 1000),
        'depth label: nearer than 0.1 m everywhere: another unit?',
        '95.83% of the pixels',
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
    'normals_nan': (
        write('normals/0000.npy', put(np.inf)),
        'normals label: NaN or infinity, which counts as missing',
        SHARE,
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
        'normals label: most point away from the camera: another convention?',
        '0000.npy',
        False,
    ),
    'edge_values': (
        write('edge/0000.png', put(1)),
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
        'depth_nan',
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


def test_normals_that_fit_the_depth_in_another_convention(nyud_sample, tmp_path):
    for folder in ('images', 'depth', 'normals', 'gt_sets'):
        (tmp_path / folder).mkdir()
        for path in (nyud_sample / folder).iterdir():
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    tasks = ('depth', 'normals')
    assert not inspect(tmp_path, tasks=tasks).is_fatal
    write('normals/000433.png', lambda normals: normals[..., ::-1])(tmp_path)
    kinds = found(inspect(tmp_path, tasks=tasks))
    assert 'z,y,x' in kinds['normals of val in another convention', True][0]
    assert not inspect(tmp_path, tasks=tasks, check_normals=False).is_fatal


def test_sums_are_those_of_the_files(root):
    report = inspect(root)
    ids = dict(train=('0000', '0001', '0002'), val=('0003', '0004'))
    assert report.frames == dict(train=3, val=2)
    for split, frames in ids.items():
        totals = report.totals[split]
        stored = np.stack(
            [cv2.imread(str(root / 'segmentation' / f'{frame}.png'), -1) for frame in frames]
        )
        expected = [int((stored == index + 1).sum()) for index in range(40)]
        assert totals['semseg'].statistics[:40].tolist() == expected
        assert (
            totals['semseg'].valid == (stored > 0).sum() and totals['semseg'].pixels == stored.size
        )
        depth = np.stack([np.load(root / 'depth' / f'{frame}.npy') for frame in frames])
        assert totals['depth'].valid == (depth > 0).sum() and totals['depth'].labels == len(frames)
        assert float(totals['depth'].statistics[0]) == pytest.approx(depth.sum(dtype=float))
    assert report.classes['semseg'][:2] == ['wall', 'floor']


def test_depth_in_millimetres_and_normals_in_8_bits(make_nyud):
    root = make_nyud(depth='.png', normals='.png', size=SIZE)
    kinds = {kind for kind, _ in found(inspect(root))}
    assert not any(kind.startswith('depth') for kind in kinds) and not any(
        'unit vectors' in kind for kind in kinds
    )
    write('depth/0000.png', put(10001))(root)
    write('depth/0001.png', lambda depth: depth // 1000)(root)
    kinds = found(inspect(root, ('train',)))
    assert [
        (kind, len(items)) for (kind, _), items in kinds.items() if kind.startswith('depth')
    ] == [
        ('depth label: farther than max_depth = 10 m, which is never predicted', 1),
        ('depth label: nearer than 0.1 m everywhere: another unit?', 1),
    ]


def test_classes_that_never_occur_are_named(root):
    for frame in ('0003', '0004'):
        write(
            f'segmentation/{frame}.png',
            lambda stored: np.where(stored == 2, 1, stored).astype(np.uint8),
        )(root)
    report = inspect(root)
    items = [
        finding.item
        for finding in report.findings
        if finding.kind == 'class of semseg that never occurs in val'
    ]
    stored = [
        cv2.imread(str(root / 'segmentation' / f'{frame}.png'), -1) for frame in ('0003', '0004')
    ]
    missing = set(range(1, 41)) - set(np.unique(stored).tolist())
    assert 2 in missing and items == [
        report.classes['semseg'][index - 1] for index in sorted(missing)
    ]
    assert not report.is_fatal


def test_human_parts_of_nobody_are_no_finding_and_saliency_of_other_values_is(root):
    for folder, value in (('human_parts', 255), ('saliency', 255)):
        (root / folder).mkdir()
        for index in range(5):
            cv2.imwrite(str(root / folder / f'{index:04d}.png'), np.full(SIZE, value, np.uint8))
    write('human_parts/0000.png', put(3))(root)
    write('saliency/0001.png', put(100))(root)
    report = inspect(root, kind=MultiTaskDataset, tasks=('human_parts', 'saliency'))
    assert list(found(report)) == [('saliency label: other values than 0 and 255', False)]
    assert report.totals['train']['human_parts'].valid == 6 * SIZE[1]
    assert report.classes['human_parts'][3] == 'upper arms'


def test_classes_of_another_class_space(root):
    report = inspect(
        root, class_space=['inside', 'outside'], class_map={'wall': 'inside', 'window': 'outside'}
    )
    stored = np.stack(
        [cv2.imread(str(root / 'segmentation' / f'000{index}.png'), -1) for index in range(3)]
    )
    assert report.classes['semseg'] == ['inside', 'outside']
    assert report.totals['train']['semseg'].statistics[:2].tolist() == [
        (stored == 1).sum(),
        (stored == 9).sum(),
    ]


def test_a_camera_makes_no_finding(root):
    (root / 'cameras.json').write_text(json.dumps({'0000': [30, 31, 15, 11]}))
    assert not inspect(root).is_fatal
