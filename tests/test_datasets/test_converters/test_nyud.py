"""NYU Depth v2: made files in the official format, converted and read back."""

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
from label_fields import plain

from m2h_mm.datasets import NYUDDataset
from m2h_mm.datasets.converters.nyud import CROPS, NYU40_TO_NYU13, convert_nyud
from m2h_mm.datasets.nyud import NYU13_CLASSES, NYU40_CLASSES
from m2h_mm.tasks.edge.thinning import thin

COUNT, HEIGHT, WIDTH = 3, 480, 640
LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]
FX, FY, CX, CY = 518.857901, 519.469611, 325.582449, 253.736166
WALL = np.array([0.3, 0.1, 0.9]) / np.linalg.norm([0.3, 0.1, 0.9])
FLOOR = np.array([0, 0.9, 0.2]) / np.linalg.norm([0, 0.9, 0.2])
HOLE = (slice(150, 220), slice(200, 300))
CORNERS = {
    'full': (0, 0, 480, 640),
    'toolkit': (44, 40, 471, 601),
    'eigen': (45, 41, 471, 601),
    'mt': (44, 40, 469, 600),
}


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Depth and normals of a wall above a floor."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([(u - CX) / FX, (CY - v) / FY, -np.ones((HEIGHT, WIDTH))], axis=-1)
    wall = -2.5 / (rays @ WALL)
    floor = np.where(rays @ FLOOR < -0.05, -1.3 / np.minimum(rays @ FLOOR, -0.05), np.inf)
    is_wall = wall < floor
    return np.minimum(wall, floor), np.where(is_wall[..., None], WALL, FLOOR)


@pytest.fixture(scope='module')
def matlab() -> dict[str, np.ndarray]:
    """The variables as MATLAB has them: the frame is the last axis."""
    rng = np.random.default_rng(0)
    depth, _ = scene()
    raw = np.repeat(depth[..., None], COUNT, axis=2).astype(np.float32)
    filled = raw.copy()
    raw[HOLE] = 0
    filled[HOLE] = rng.uniform(1, 3, filled[HOLE].shape)

    def blocks(high, kind, *channels):
        return (
            rng.integers(0, high, (12, 16, *channels, COUNT))
            .repeat(40, 0)
            .repeat(40, 1)
            .astype(kind)
        )

    labels = blocks(895, np.uint16)
    labels[:100, :200] = 7  # one class, so that only the instances differ
    return dict(
        images=blocks(256, np.uint8, 3),
        depths=filled,
        rawDepths=raw,
        labels=labels,
        instances=blocks(40, np.uint8),
    )


@pytest.fixture(scope='module')
def mapping() -> np.ndarray:
    return np.random.default_rng(1).integers(1, 41, (1, 894)).astype(np.uint8)


@pytest.fixture
def download(tmp_path, matlab, mapping) -> Path:
    """The three official files."""
    root = tmp_path / 'download'
    root.mkdir()
    path = root / 'nyu_depth_v2_labeled.mat'
    with h5py.File(path, 'w', userblock_size=512) as file:  # MATLAB 7.3
        for name, array in matlab.items():
            file.create_dataset(
                name,
                data=array.T,
                chunks=(1, *array.T.shape[1:]),
                compression='gzip',
                compression_opts=1,
            )
        text = file.create_dataset(
            '#refs#/a', data=np.array([[ord(letter)] for letter in 'wall'], np.uint16)
        )
        file.create_dataset(
            'names', data=np.array([[text.ref]], h5py.ref_dtype), dtype=h5py.ref_dtype
        )
        file.create_group('#subsystem#')
    with open(path, 'r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file')
    scipy.io.savemat(
        root / 'splits.mat',
        dict(trainNdxs=np.array([[2]], np.uint16), testNdxs=np.array([[3], [1]], np.uint16)),
    )
    scipy.io.savemat(
        root / 'classMapping40.mat',
        dict(mapClass=mapping, className=np.array([['a', 'b']], object)),
    )
    return root


def load(out: Path, split: str = 'train', **options) -> list[dict]:
    dataset = NYUDDataset(out, split, pipeline=LOAD, **options)
    return [plain(dataset[index]) for index in range(len(dataset))]


def degrees(found, expected):
    return np.degrees(np.arccos(np.clip((found * expected).sum(axis=-1), -1, 1)))


@pytest.mark.parametrize('crop', list(CORNERS))
def test_all_labels_pixel_for_pixel(tmp_path, download, matlab, mapping, crop):
    out = tmp_path / 'out'
    convert_nyud(download, out, crop=crop, num_workers=0)
    top, left, bottom, right = CORNERS[crop]
    assert CROPS[crop] == (bottom - top, right - left)
    for split, numbers in (('train', [2]), ('val', [1, 3])):
        frames = load(out, split)
        assert [frame['frame_id'] for frame in frames] == [f'{number:04d}' for number in numbers]
        for frame, number in zip(frames, numbers, strict=True):
            cut = {
                name: array[top:bottom, left:right, ..., number - 1]
                for name, array in matlab.items()
            }
            np.testing.assert_array_equal(frame['img'], cut['images'])
            np.testing.assert_array_equal(frame['gt_depth'], cut['depths'])
            classes = np.full(cut['labels'].shape, 255)
            for label in np.unique(cut['labels'][cut['labels'] > 0]):
                classes[cut['labels'] == label] = mapping[0, label - 1] - 1
            np.testing.assert_array_equal(frame['gt_semseg'], classes)
            unique = cut['labels'].astype(int) * 64 + cut['instances']
            marked = np.zeros(unique.shape, bool)
            marked[:, :-1] = np.diff(unique, axis=1) != 0
            marked[:-1] |= np.diff(unique, axis=0) != 0
            np.testing.assert_array_equal(frame['gt_edge'], thin(marked))
            np.testing.assert_allclose(
                frame['cam2img'], [[FX, 0, CX - left], [0, FY, CY - top], [0, 0, 1]], atol=1e-4
            )


def test_normals_come_from_the_raw_depth(tmp_path, download):
    convert_nyud(download, tmp_path / 'out', num_workers=0)
    normals = load(tmp_path / 'out')[0]['gt_normals']
    expected = scene()[1][44:469, 40:600]
    known = normals.any(axis=2)
    assert degrees(normals, expected)[known].max() < 0.5  # 8 bits
    hole = np.zeros(known.shape, bool)
    hole[150 - 44 : 220 - 44, 200 - 40 : 300 - 40] = True
    assert known[~hole].all() and not known[hole].all()


def test_13_classes_and_raw_depth(tmp_path, download, matlab, mapping):
    convert_nyud(
        download, tmp_path / 'out', crop='full', num_classes=13, depth='raw', num_workers=0
    )
    tasks = dict(semseg=dict(num_classes=13), depth=dict())
    frame = load(tmp_path / 'out', tasks=tasks)[0]
    np.testing.assert_array_equal(frame['gt_depth'], matlab['rawDepths'][..., 1])
    assert not frame['gt_depth'][HOLE].any()
    labels = matlab['labels'][..., 1]
    for label in np.unique(labels[labels > 0]):
        assert (
            frame['gt_semseg'][labels == label] == NYU40_TO_NYU13[mapping[0, label - 1] - 1] - 1
        ).all()
    assert (frame['gt_semseg'][labels == 0] == 255).all()
    dataset = NYUDDataset(tmp_path / 'out', tasks=tasks)
    assert dataset.metainfo['classes'] == NYU13_CLASSES and len(dataset.metainfo['palette']) == 13
    assert NYUDDataset(tmp_path / 'out', tasks=['depth']).metainfo['classes'] == NYU40_CLASSES


def test_what_the_40_classes_become_among_the_13():
    names = {
        name: NYU13_CLASSES[NYU40_TO_NYU13[index] - 1] for index, name in enumerate(NYU40_CLASSES)
    }
    assert {
        **names,
        'wall': 'wall',
        'floor': 'floor',
        'floor mat': 'floor',
        'door': 'wall',
        'cabinet': 'furniture',
        'desk': 'table',
        'television': 'tv',
        'blinds': 'window',
        'pillow': 'objects',
    } == names
    same = set(NYU13_CLASSES) - {'furniture', 'objects', 'tv'}
    assert all(names[name] == name for name in same)


@pytest.mark.parametrize(
    ('convention', 'channels', 'signs', 'crop'),
    [
        ('nyud-mt', (0, 1, 2), (1, 1, 1), 'mt'),
        ('refinenet', (0, 2, 1), (1, -1, 1), 'full'),
        ('ladicky', (2, 1, 0), (-1, -1, 1), 'mt'),
        ('geonet', (0, 1, 2), (1, -1, -1), 'full'),
        ('-y,x,z', (1, 0, 2), (-1, 1, 1), 'full'),
    ],
)
def test_official_normals_in_any_convention(tmp_path, download, convention, channels, signs, crop):
    """Written channel by channel; as full frames and as crops; one frame has none."""
    expected = scene()[1]
    stored = np.rint((expected[..., channels] * signs + 1) * 127.5).astype(np.uint8)
    stored[50:60, 50:60] = 0 if convention == 'geonet' else 127
    stored = stored if crop == 'full' else stored[44:469, 40:600]
    for name in ('test/1.png', 'train/000002.png'):
        (tmp_path / 'normals' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'normals' / name), stored[..., ::-1])
    convert_nyud(
        download,
        tmp_path / 'out',
        normals_dir=tmp_path / 'normals',
        normals_convention=convention,
        num_workers=0,
    )
    (with_normals,), (_, without) = load(tmp_path / 'out'), load(tmp_path / 'out', 'val')
    normals = with_normals['gt_normals']
    known = normals.any(axis=2)
    assert degrees(normals, expected[44:469, 40:600])[known].max() < 1
    assert np.argwhere(~known).min(axis=0).tolist() == [6, 10] and (~known).sum() == 100
    assert 'gt_normals' not in without and 'gt_depth' in without


def test_a_wrong_convention_is_refused_by_the_loader(tmp_path, download):
    folder = tmp_path / 'normals'
    folder.mkdir()
    stored = np.rint((scene()[1][..., [0, 2, 1]] * (1, -1, 1) + 1) * 127.5).astype(np.uint8)
    for number in range(1, COUNT + 1):
        cv2.imwrite(str(folder / f'{number}.png'), stored[..., ::-1])
    convert_nyud(
        download, tmp_path / 'out', normals_dir=folder, normals_convention='nyud-mt', num_workers=0
    )
    with pytest.raises(ValueError, match='channels hold'):
        load(tmp_path / 'out')


def damage(download: Path, name: str, index: int) -> None:
    """Overwrite the middle of a frame's compressed bytes."""
    path = download / 'nyu_depth_v2_labeled.mat'
    with h5py.File(path) as file:
        data = file[name]
        chunk = data.id.get_chunk_info_by_coord((index, *[0] * (data.ndim - 1)))
    with open(path, 'r+b') as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(bytes(chunk.size // 4))


def test_a_damaged_frame_is_named_and_the_others_are_kept(tmp_path, download, capsys):
    whole = (download / 'nyu_depth_v2_labeled.mat').read_bytes()
    damage(download, 'images', 2)
    out = tmp_path / 'out'
    with pytest.raises(
        ValueError,
        match=r'(?s)1 frames cannot .* 0003: .*labeled\.mat: images of '
        r'frame 3 .*damaged',
    ):
        convert_nyud(download, out, num_workers=0)
    assert sorted(path.stem for path in (out / 'images').iterdir()) == ['0001', '0002']
    assert not (out / 'gt_sets').exists()
    (download / 'nyu_depth_v2_labeled.mat').write_bytes(whole)
    times = {path: path.stat().st_mtime_ns for path in out.glob('*/*.*')}
    convert_nyud(download, out, num_workers=0)
    assert '1 of them converted now' in capsys.readouterr().out
    assert len(load(out, 'val')) == 2
    convert_nyud(download, out, num_workers=0)
    assert '3 frames, 0 of them converted now' in capsys.readouterr().out
    assert times.items() <= {path: path.stat().st_mtime_ns for path in out.glob('*/*.*')}.items()
    for options in (dict(crop='full'), dict(num_classes=13), dict(depth='raw')):
        with pytest.raises(ValueError, match=rf'other settings \({next(iter(options))} = '):
            convert_nyud(download, out, num_workers=0, **options)


def test_the_command_works_in_parallel(tmp_path, download, run):
    run(
        'convert-data',
        'nyud',
        download,
        '--out-dir',
        tmp_path / 'tool',
        '--num-workers',
        '2',
        '--crop',
        'eigen',
        '--classes',
        '13',
        '--depth',
        'raw',
    )
    convert_nyud(download, tmp_path / 'here', 'eigen', 13, 'raw', num_workers=0)
    here, there = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob('*.*')
            if path.is_file()
        }
        for name in ('here', 'tool')
    )
    assert here == there and len(here) == 5 * COUNT + 5
    said = run('convert-data', 'nyud', tmp_path / 'nowhere', status=1)
    for name in (
        'error: ',
        'nowhere',
        'nyu_depth_v2_labeled.mat',
        'splits.mat',
        'classMapping40.mat',
    ):
        assert name in said


def test_what_is_missing_or_of_another_format_is_named(tmp_path, download, mapping):
    def fails(pattern, kind=ValueError, **options):
        with pytest.raises(kind, match=pattern):
            convert_nyud(download, tmp_path / f'out{len(options)}', num_workers=0, **options)

    fails('--crop: expected one of .*, got .half', crop='half')
    fails('--classes: expected .*40, 13', num_classes=894)
    fails('both or none', normals_dir=tmp_path)
    fails(
        r'no \.png or \.npy', FileNotFoundError, normals_dir=tmp_path, normals_convention='geonet'
    )
    for name in ('1.png', '0001.png'):
        cv2.imwrite(str(tmp_path / name), np.full((100, 100, 3), 200, np.uint8))
    fails('both of frame 1', normals_dir=tmp_path, normals_convention='geonet')
    (tmp_path / '0001.png').unlink()
    fails('expected one of', normals_dir=tmp_path, normals_convention='mine')
    fails(
        r'(?s)0001: .*1\.png is 100x100; expected',
        normals_dir=tmp_path,
        normals_convention='geonet',
    )

    archive = download / 'nyu_depth_v2_labeled.mat'
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    fails(r'labeled\.mat cannot be opened .*truncated')
    archive.write_bytes(whole)
    with h5py.File(archive, 'r+') as file:
        del file['instances']
    fails(r'expected instances of shape \(3, 640, 480\).*nothing of that name')
    archive.write_bytes(whole)

    scipy.io.savemat(download / 'classMapping40.mat', dict(mapClass=mapping[:, :100]))
    fails(r'0001: .*frame 1 has label \d+, but classMapping40\.mat maps 1\.\.100')
    scipy.io.savemat(download / 'classMapping40.mat', dict(mapClass=mapping + 5))
    fails(r'classMapping40\.mat: expected classes 1\.\.40')
    scipy.io.savemat(download / 'classMapping40.mat', dict(mapClass=mapping))
    for train in ([1, 4], [0, 2], [1, 3]):
        scipy.io.savemat(download / 'splits.mat', dict(trainNdxs=train, testNdxs=[3]))
        if train != [1, 3]:
            fails(r'splits\.mat: expected .* 1\.\.3')
    fails(r'splits\.mat: .*3 numbers, 2 different')
    (download / 'splits.mat').write_bytes(b'')
    fails(r'splits\.mat: the variable trainNdxs cannot be read')
    (download / 'splits.mat').unlink()
    fails(r'(?s)has no splits\.mat\. Expected:.*official split', FileNotFoundError)
