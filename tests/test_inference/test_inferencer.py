"""From images to maps and files."""

import io
import os

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from PIL import Image

from m2h_mm.inference.inferencer import M2HInferencer
from m2h_mm.tasks.files import read_array

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (37, 50, 3), dtype=np.uint8)
TASKS = ['semseg', 'depth', 'normals', 'edge']


@pytest.fixture(scope='module')
def inferencer(tiny):
    return M2HInferencer(tiny[1], device='cpu', show_progress=False)


def predict(inferencer, image, **options):
    return inferencer(image, **options)['predictions'][0]


def test_maps_have_the_image_s_size_and_their_units(inferencer):
    maps = predict(inferencer, IMAGE)
    assert list(maps) == TASKS
    assert {name: map.shape for name, map in maps.items()} == dict(
        semseg=(37, 50), depth=(37, 50), normals=(37, 50, 3), edge=(37, 50)
    )
    assert (
        np.issubdtype(maps['semseg'].dtype, np.integer)
        and 0 <= maps['semseg'].min() <= maps['semseg'].max() < 40
    )
    assert 1e-3 <= maps['depth'].min() < maps['depth'].max() <= 10
    np.testing.assert_allclose(np.linalg.norm(maps['normals'], axis=2), 1, atol=1e-5)
    assert 0 < maps['edge'].min() < maps['edge'].max() < 1


def test_batches_and_neighbours_change_nothing(inferencer):
    images = [IMAGE, IMAGE[::-1].copy(), IMAGE[:20], IMAGE]
    single = [predict(inferencer, image) for image in images]
    together = inferencer(images, batch_size=3)['predictions']
    for one, other in zip(single, together, strict=True):
        for name in TASKS:
            np.testing.assert_allclose(one[name], other[name], atol=1e-4)


def test_compiled_it_predicts_the_same(inferencer, tiny, monkeypatch):
    graphs, compile = [], torch.compile

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(
        torch, 'compile', lambda network, **options: compile(network, **options, backend=backend)
    )
    compiled = M2HInferencer(tiny[1], device='cpu', show_progress=False, compile=True)
    for _ in range(2):
        maps = predict(compiled, IMAGE)
    assert len(graphs) == 1
    for name, map in predict(inferencer, IMAGE).items():
        np.testing.assert_allclose(maps[name], map, atol=1e-5)


def test_tasks_not_asked_for_are_not_computed(inferencer, monkeypatch):
    def fail(*args):
        raise AssertionError('computed')

    everything = predict(inferencer, IMAGE)
    for name in ('semseg', 'normals', 'edge'):
        monkeypatch.setattr(inferencer.model.heads[name], 'forward', fail)
    maps = predict(inferencer, IMAGE, tasks=['depth'])
    assert list(maps) == ['depth']
    np.testing.assert_allclose(maps['depth'], everything['depth'], atol=1e-6)


@pytest.mark.parametrize('dtype', ['bf16', 'fp16'])
def test_half_precision_is_close(inferencer, dtype):
    exact, close = (predict(inferencer, IMAGE, dtype=kind) for kind in ('fp32', dtype))
    assert close['depth'].dtype == np.float32
    assert 0 < np.abs(close['depth'] - exact['depth']).max() < 0.1 * exact['depth'].max()


@pytest.mark.parametrize('size', ['test', 'native', 'fit', (28, 70)])
def test_maps_are_aligned_with_the_image_at_any_size(inferencer, size, monkeypatch):
    """A head that repeats the image: its map must lie where the image lies."""
    ramp = np.zeros((37, 50, 3), np.uint8)
    ramp[..., 0] = np.linspace(20, 220, 50).astype(np.uint8)

    def run(inputs, tasks=None):
        grey = (inputs[:, :1] * 58.395 + 123.675) / 100
        return dict(depth=torch.nn.functional.avg_pool2d(grey, 2)), []

    monkeypatch.setattr(inferencer.model, 'run_network', run)
    depth = predict(inferencer, ramp, size=size)['depth']
    inside = (slice(6, -6), slice(6, -6))  # at the border the padding shines in
    assert np.abs(depth[inside] - ramp[inside][..., 0] / 100).max() < 0.03


@pytest.mark.parametrize('shape', [(1, 1), (1, 300), (2, 15)])
def test_tiny_images(inferencer, shape):
    maps = predict(inferencer, np.full((*shape, 3), 128, np.uint8))
    assert all(map.shape[:2] == shape and np.isfinite(map).all() for map in maps.values())


def test_an_image_20000_pixels_wide(inferencer, monkeypatch):
    monkeypatch.setattr('m2h_mm.models.pipeline.MAX_INPUT_PIXELS', 2**14)
    monkeypatch.setattr('m2h_mm.models.pipeline.MAX_OUTPUT_PIXELS', 2**16)
    maps = predict(inferencer, np.zeros((30, 20000, 3), np.uint8), size='native')
    assert all(map.shape[:2] == (30, 20000) for map in maps.values())
    np.testing.assert_allclose(np.linalg.norm(maps['normals'], axis=2), 1, atol=1e-5)


def test_a_folder_becomes_pictures_and_maps_and_what_failed_is_listed(inferencer, tmp_path):
    folder, out = tmp_path / 'photos', tmp_path / 'out'
    (folder / 'more').mkdir(parents=True)
    for name in ('a.png', 'b.jpg', 'more/a.png'):
        Image.fromarray(IMAGE).save(folder / name)
    (folder / 'broken.png').write_bytes(b'')
    result = inferencer(folder, out_dir=out, tasks=['depth', 'edge'])
    assert result['predictions'] == [] and list(result['failed']) == ['broken']
    assert 'zero bytes' in result['failed']['broken']
    assert {str(path.relative_to(out)) for path in out.rglob('*.*')} == {
        f'{where}/{name}.{suffix}'
        for name in ('a', 'b', 'more/a')
        for where, suffix in (('pictures', 'png'), ('depth', 'npy'), ('edge', 'png'))
    }
    np.testing.assert_array_equal(
        read_array(out / 'depth' / 'a.npy'), predict(inferencer, IMAGE)['depth']
    )
    with pytest.raises(ValueError, match='zero bytes'):
        inferencer(folder / 'broken.png')


def test_results_replace_nothing(inferencer, tiny, tmp_path, monkeypatch):
    out = tmp_path / 'x'
    photo = out / 'pictures' / 'a.png'
    photo.parent.mkdir(parents=True)
    Image.fromarray(IMAGE).save(photo)
    before = photo.read_bytes()

    def begin(*arguments):
        raise AssertionError('the work has begun')

    monkeypatch.setattr(inferencer, 'stream', begin)
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r'a\.png is read by this command'):
            inferencer(photo.parent, out_dir=out, tasks=['depth'], overwrite=overwrite)
    (tmp_path / 'depth').mkdir()
    (tmp_path / 'depth' / 'a.npy').write_text('of an earlier run')
    with pytest.raises(FileExistsError, match=r'a\.npy is there already'):
        inferencer(photo, out_dir=tmp_path, tasks=['depth'])
    (tmp_path / 'normals').mkdir()
    (tmp_path / 'normals' / 'a.png').write_text('a label')
    with pytest.raises(ValueError, match=r'a\.npy would stand beside .*a\.png'):
        inferencer(photo, out_dir=tmp_path, tasks=['normals'], overwrite=True)
    with pytest.raises(AssertionError, match='begun'):
        inferencer(photo, out_dir=tmp_path, tasks=['edge'])
    with pytest.raises(AssertionError, match='begun'):
        inferencer(photo, out_dir=tmp_path, tasks=['depth'], overwrite=True)
    assert photo.read_bytes() == before


def test_pictures_and_samples_are_returned_when_asked_for(inferencer):
    result = inferencer([IMAGE], return_vis=True, return_datasamples=True)
    sample, picture = result['predictions'][0], result['visualization'][0]
    assert isinstance(sample.pred_depth, PixelData)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3 and len(np.unique(picture)) > 50
    assert inferencer.classes['semseg'][0] == 'wall'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(tasks=['detph']), r"unknown task\(s\) \['detph'\]"),
        (dict(dtype='int8'), 'dtype: expected'),
        (dict(size='huge'), 'size: expected'),
        (dict(size=(0, 5)), 'size: expected'),
        (dict(batch_size=0), 'batch_size'),
    ],
)
def test_mistakes_are_named(inferencer, options, message):
    with pytest.raises(ValueError, match=message):
        inferencer(IMAGE, **options)


def test_a_name_that_is_too_long_is_that_image_s_error(inferencer, tmp_path):
    (tmp_path / 'in').mkdir()
    names = ['a', 'm' * 251, 'z', os.fsdecode(b'caf\xe9')]
    for name in names:
        Image.fromarray(IMAGE).save(tmp_path / 'in' / f'{name}.png')
    images = [*sorted((tmp_path / 'in').iterdir()), tmp_path / 'in' / ('x' * 252)]
    Image.fromarray(IMAGE).save(images[-1], format='PNG')
    failed = inferencer(images, ['depth'], out_dir=tmp_path / 'out')['failed']
    assert list(failed) == ['x' * 252] and 'make it shorter' in failed['x' * 252]
    assert {path.stem for path in (tmp_path / 'out' / 'depth').iterdir()} == set(names)


def test_whatever_holds_an_image_is_taken(inferencer):
    """As from a notebook; one task may be named without a list."""
    picture, file = Image.fromarray(IMAGE), io.BytesIO()
    picture.save(file, 'PNG')
    expected = predict(inferencer, IMAGE)['depth']
    for source in (picture, [picture, picture], file, file.getvalue()):
        maps = predict(inferencer, source, tasks='depth')
        assert list(maps) == ['depth']
        np.testing.assert_array_equal(maps['depth'], expected)
    for size in (224, (56.5, 70), (float('inf'), 5), 'large'):
        with pytest.raises(ValueError, match='size: expected'):
            inferencer(IMAGE, size=size)
    with pytest.raises(ValueError, match=r'inputs: expected a file.*got Tensor'):
        inferencer(torch.from_numpy(IMAGE))
