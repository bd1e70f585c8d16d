"""What the web page makes of an upload; neither Gradio nor a browser is needed."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from m2h_mm.cli.web.results import (
    FORMATS,
    MAX_UPLOAD_BYTES,
    UploadError,
    load_models,
    predict_upload,
    read_upload,
    thin,
)
from m2h_mm.inference.inferencer import M2HInferencer

IMAGE = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
TASKS = ['semseg', 'depth', 'normals', 'edge']


@pytest.fixture(scope='module')
def inferencer(tiny):
    return M2HInferencer(tiny[1], device='cpu', show_progress=False)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'my room.png'
    Image.fromarray(IMAGE).save(path)
    return path


@pytest.fixture
def everything_is_seen(monkeypatch):
    """The random model's depth is so rough that all of it would be left out."""
    monkeypatch.setattr('m2h_mm.mapping.point_cloud.MIN_COSINE', -2)


def header_of_png(width, height):
    """A PNG that says it is that large and holds next to nothing."""

    def chunk(kind, content):
        return (
            struct.pack('>I', len(content))
            + kind
            + content
            + struct.pack('>I', zlib.crc32(kind + content))
        )

    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(bytes(1000)))
        + chunk(b'IEND', b'')
    )


def as_bytes(kind):
    file = io.BytesIO()
    Image.fromarray(IMAGE).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize('kind', FORMATS)
def test_what_browsers_show_is_read(tmp_path, kind):
    (tmp_path / 'upload').write_bytes(as_bytes(kind))
    assert read_upload(tmp_path / 'upload').shape == IMAGE.shape


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'zero bytes'),
        (b'no image', 'no image that can be read'),
        (as_bytes('PNG')[:900], 'cannot be read'),
        (as_bytes('PNG')[:20], 'no image that can be read'),
        (header_of_png(60000, 60000), 'far too large'),
        (header_of_png(12000, 8000), '12000 × 8000 pixels'),
        (header_of_png(5000, 5000), '5000 × 5000 pixels'),
        (as_bytes('TIFF'), 'expected PNG, JPEG'),
        (as_bytes('EPS'), 'expected PNG, JPEG'),
        (bytes(MAX_UPLOAD_BYTES + 1), '32.0 megabytes'),
    ],
)
def test_bad_files_are_one_message_with_their_name(tmp_path, content, message):
    (tmp_path / 'upload.png').write_bytes(content)
    with pytest.raises(UploadError, match=message) as raised:
        read_upload(tmp_path / 'upload.png')
    assert str(raised.value).startswith('upload.png') and str(tmp_path) not in str(raised.value)


def test_an_upload_that_was_swept_away(tmp_path):
    with pytest.raises(UploadError, match='no longer on the server'):
        read_upload(tmp_path / 'gone.png')


def test_a_strip_that_no_camera_sees_has_maps_and_no_surface(inferencer, tmp_path):
    Image.fromarray(IMAGE[:, :1].repeat(20, 0)).save(tmp_path / 'strip.png')
    result = predict_upload(inferencer, tmp_path / 'strip.png', ['depth'], 'native', tmp_path)
    assert 'no camera' in result.note and list(result.pictures) == ['depth']
    assert result.surface is None and result.archive.is_file()


def test_everything_of_a_prediction(inferencer, photo, tmp_path, everything_is_seen):
    out = tmp_path / 'out'
    result = predict_upload(inferencer, photo, TASKS, 'native', out)
    assert list(result.pictures) == TASKS
    assert all(
        picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in result.pictures.values()
    )
    # 19 times as large, above it the title and below it the key.
    assert all(
        picture.shape[0] > 37 * 19 + 60 and picture.shape[1] >= 50 * 19
        for picture in result.pictures.values()
    )
    expected = inferencer(IMAGE, size='native')['predictions'][0]
    with zipfile.ZipFile(result.archive) as archive:
        assert archive.testzip() is None and sorted(archive.namelist()) == [
            'depth/my room.npy',
            'edge/my room.png',
            'my room.ply',
            'normals/my room.npy',
            'pictures/depth.png',
            'pictures/edge.png',
            'pictures/normals.png',
            'pictures/semseg.png',
            'semseg/my room.png',
        ]
        for name in ('depth', 'normals'):
            np.testing.assert_allclose(
                np.load(io.BytesIO(archive.read(f'{name}/my room.npy'))), expected[name], atol=1e-5
            )
        shown = np.asarray(Image.open(io.BytesIO(archive.read('pictures/depth.png'))))
        np.testing.assert_array_equal(shown, result.pictures['depth'])
        assert archive.read('my room.ply').startswith(b'ply\n')
    surface = result.surface.read_bytes()
    assert surface.startswith(b'glTF') and b'"count": 1850' in surface  # 37 x 50, edges too
    assert '37 × 50 pixels' in result.note and 'saw 37 × 50, padded to 42 × 56' in result.note
    assert 'a view 60° wide is assumed' in result.note
    assert {path for path in out.rglob('*') if path.is_file()} == {result.archive, result.surface}


def test_tasks_and_size_are_those_chosen(inferencer, photo, tmp_path):
    result = predict_upload(inferencer, photo, ['edge', 'semseg'], (28, 70), tmp_path)
    assert sorted(result.pictures) == ['edge', 'semseg'] and result.surface is None
    assert 'saw 28 × 70, and' in result.note and 'space' not in result.note
    with zipfile.ZipFile(result.archive) as archive:
        assert {name.split('/')[0] for name in archive.namelist()} == {'edge', 'semseg', 'pictures'}


def test_a_photo_that_notes_its_focal_length(inferencer, tmp_path, everything_is_seen):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 28
    Image.fromarray(IMAGE).save(tmp_path / 'photo.jpg', exif=exif)
    assert (
        'EXIF'
        in predict_upload(inferencer, tmp_path / 'photo.jpg', ['depth'], 'fit', tmp_path).note
    )


def test_two_uploads_of_one_name_do_not_meet(inferencer, photo, tmp_path):
    first = predict_upload(inferencer, photo, ['depth'], 'fit', tmp_path)
    before = first.archive.read_bytes()
    Image.fromarray(IMAGE[::-1]).save(photo)
    second = predict_upload(inferencer, photo, ['depth'], 'fit', tmp_path)
    assert (
        first.archive != second.archive
        and first.archive.read_bytes() == before != second.archive.read_bytes()
    )


@pytest.mark.parametrize(
    ('tasks', 'size', 'message'),
    [
        ([], 'native', 'at least one of the tasks semseg'),
        (
            ['flow'],
            'native',
            r'unknown task\(s\) '
            r"\['flow'\]",
        ),
        (['depth'], (9000, 9000), '9002 × 9002 pixels'),
        (['depth'], (1, 10**6), '14 × 1000006 pixels'),
    ],
)
def test_mistakes_leave_nothing_behind(inferencer, photo, tmp_path, tasks, size, message):
    with pytest.raises(ValueError, match=message):
        predict_upload(inferencer, photo, tasks, size, tmp_path / 'out')
    assert not list(tmp_path.glob('out/*'))


def test_a_disk_that_is_full_leaves_nothing_behind(inferencer, photo, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError('No space left on device')

    monkeypatch.setattr('m2h_mm.cli.web.results._pack', fail)
    with pytest.raises(OSError, match='No space left'):
        predict_upload(inferencer, photo, ['depth'], 'fit', tmp_path / 'out')
    assert not list(tmp_path.glob('out/*'))


def test_a_thinned_map_is_seen_by_its_camera():
    rows, columns = np.mgrid[:30, :41]
    maps, (fx, fy, cx, cy) = thin(dict(rows=rows, columns=columns), (100.0, 90.0, 20.0, 14.5), 150)
    assert maps['rows'].shape == (10, 14)
    few_rows, few_columns = np.mgrid[:10, :14]
    np.testing.assert_allclose((few_columns - cx) / fx, (maps['columns'] - 20.0) / 100.0)
    np.testing.assert_allclose((few_rows - cy) / fy, (maps['rows'] - 14.5) / 90.0)
    whole, camera = thin(dict(rows=rows), (100.0, 90.0, 20.0, 14.5), 30 * 41)
    assert whole['rows'].shape == (30, 41) and camera == (100.0, 90.0, 20.0, 14.5)


def test_models_by_name(tiny, tmp_path):
    config, checkpoint = map(str, tiny)
    assert list(load_models([checkpoint], device='cpu')) == ['tiny']
    other = tmp_path / 'tiny.pth'
    other.write_bytes(tiny[1].read_bytes())
    names = list(load_models([checkpoint, str(other)], [config, config], 'cpu'))
    assert names == [checkpoint.removesuffix('.pth'), str(tmp_path / 'tiny')]


def test_a_model_that_cannot_be_loaded_is_named(tiny, tmp_path):
    config, checkpoint = map(str, tiny)
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'PK no checkpoint')
    config_with_a_mistake = tmp_path / 'mistaken.py'
    config_with_a_mistake.write_text(f"_base_ = {config!r}\nmodel = dict(type='NoSuchModel')")
    for pair in (
        (str(broken), config),
        (checkpoint, str(config_with_a_mistake)),
        (checkpoint, 'no_such_config'),
    ):
        with pytest.raises(ValueError, match=f'Model {pair[0]} with {pair[1]} cannot be loaded: .'):
            load_models([checkpoint, pair[0]], [config, pair[1]], 'cpu')
    with pytest.raises(ValueError, match=f'Model {broken} cannot be loaded: .'):
        load_models([str(broken)], device='cpu')
    with pytest.raises(ValueError, match='got 1 for 2'):
        load_models([checkpoint, checkpoint], [config])
