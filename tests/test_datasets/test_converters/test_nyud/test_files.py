"""Damaged, missing and unknown files of NYU Depth v2, and the command."""

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io

from m2h_mm.datasets.converters.nyud import convert_nyud

from .conftest import COUNT, load


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
