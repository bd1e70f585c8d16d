"""From a checkpoint to an exported file, and from the file to maps without this package."""

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from exported_files import OF_ANOTHER_PROGRAM, TASKS, require_metadata, require_same
from PIL import Image

from m2h_mm.inference.deployed_model import DeployedModel
from m2h_mm.inference.export import METADATA, example, export_metadata, load
from m2h_mm.inference.inferencer import M2HInferencer
from m2h_mm.inference.loading import load_model
from m2h_mm.inference.names import name_inputs

TOOLS = Path(__file__).resolve().parents[2] / 'tools' / 'deployment'


@pytest.fixture
def export(run, tiny) -> Callable[..., str]:
    """``export(*options, status=0)``: what the command printed about the tiny model."""
    return partial(run, 'export', tiny[1])


def test_a_checkpoint_becomes_a_file_that_onnx_runtime_runs_alone(
    export, tiny, tmp_path, monkeypatch
):
    pytest.importorskip('onnxscript')
    runtime = pytest.importorskip('onnxruntime')
    model = tmp_path / 'sub' / 'tiny.onnx'
    said = export('--size', 37, 50, '--out', model, '--repeats', 1)
    assert 'metres along the optical axis' in said and 'ratio' in said
    assert [file.name for file in model.parent.iterdir()] == [model.name]
    stored = runtime.InferenceSession(str(model)).get_modelmeta().custom_metadata_map[METADATA]
    classes = load_model(tiny[1])[1].classes['semseg']
    assert len(classes) == 40
    require_metadata(json.loads(stored), (37, 50), classes)

    images, out = tmp_path / 'images', tmp_path / 'out'
    images.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(images / 'same.png')
    Image.fromarray(pixels).resize((100, 74)).save(images / 'larger.png')
    (images / 'broken.png').write_bytes(b'no image')
    script = shutil.copy(TOOLS / 'run_onnx.py', tmp_path)
    finished = subprocess.run(
        [sys.executable, script, model, *sorted(images.iterdir()), '--out-dir', out],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (
        finished.returncode == 1
        and 'broken.png' in finished.stderr
        and 'Traceback' not in finished.stderr
    )
    expected = M2HInferencer(tiny[1], device='cpu', show_progress=False)(pixels)['predictions'][0]
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    require_same(load(model, 'onnx')(image), expected, (37, 50), OF_ANOTHER_PROGRAM)
    for task in TASKS:
        map = np.load(out / task / 'same.npy')
        if task == 'semseg':
            assert (map != expected[task]).mean() < 1e-3
        else:
            np.testing.assert_allclose(map, expected[task], atol=1e-3)
        assert np.load(out / task / 'larger.npy').shape[:2] == (74, 100)
        assert Image.open(out / task / 'same.png').size == (50, 37)
    require_int8(export, model, images / 'same.png', monkeypatch)


def test_the_runner_needs_neither_the_package_nor_torch():
    tree = ast.parse((TOOLS / 'run_onnx.py').read_text())
    modules = [
        name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    ]
    modules += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = {module.split('.')[0] for module in modules}
    assert imported - set(sys.stdlib_module_names) == {'numpy', 'onnxruntime', 'PIL'}


def load_runner():
    spec = importlib.util.spec_from_file_location('run_onnx', TOOLS / 'run_onnx.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    'files',
    [
        ['a.jpg'],
        ['kitchen/frame.png', 'office/frame.png'],
        ['a.jpg', 'a.png', 'b.png'],
        ['a.jpg', 'a.png', 'a.jpg.png'],
    ],
)
def test_the_runner_names_images_as_the_inferencer_does(files, tmp_path):
    pytest.importorskip('onnxruntime')
    paths = [tmp_path / file for file in files]
    assert load_runner().name_images(paths) == name_inputs(paths)


def test_the_runner_replaces_nothing(tmp_path):
    pytest.importorskip('onnxruntime')
    require_free = load_runner().require_free
    photo, link = tmp_path / 'a.png', tmp_path / 'link.png'
    photo.touch()
    link.symlink_to(photo)
    for overwrite in (False, True):
        with pytest.raises(ValueError, match='is an input'):
            require_free([link], [photo], overwrite)
    with pytest.raises(ValueError, match='is there already'):
        require_free([photo], [], False)
    require_free([photo, tmp_path / 'new.png'], [tmp_path / 'lost.png'], True)


@pytest.mark.parametrize('size', [None, (84, 112)])
@pytest.mark.parametrize('shape', [(84, 112), (90, 119), (301, 222), (30, 200), (1500, 2000)])
def test_the_runner_shows_a_model_for_any_size_what_the_inferencer_does(tiny, shape, size):
    """Resized and padded outside of the file, an image is the network's input of the test loop."""
    pytest.importorskip('onnxruntime')
    model, _ = load_model(tiny[1], options={'model.data_preprocessor.size': size})
    metadata = export_metadata(DeployedModel(model, dynamic=True), (84, 112))
    pixels = example(shape)[0].round().byte()
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    batch, (left, top, right, bottom) = load_runner().prepare(image, metadata)
    found = (torch.from_numpy(batch) - model.pipeline.mean) / model.pipeline.std
    expected, (framing,) = model.pipeline.prepare([pixels])
    assert (bottom - top, right - left) == framing.seen
    assert (left, top) == framing.padding[::2]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_runner_brings_only_unit_vectors_to_the_length_of_one():
    pytest.importorskip('onnxruntime')
    colours = np.full((3, 4, 6), 0.2, np.float32)
    enlarge = load_runner().enlarge
    np.testing.assert_allclose(enlarge(colours, (12, 8)), 0.2, rtol=1e-6)
    lengths = np.linalg.norm(enlarge(colours, (12, 8), unit_vectors=True), axis=2)
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_a_file_that_differs_takes_nobodys_place(export, tmp_path, monkeypatch):
    out = tmp_path / 'model.ts'
    out.write_text('the last good one')
    monkeypatch.setattr('m2h_mm.inference.export.differences', lambda *args: dict(depth=0.1))
    said = export(
        '--format', 'torchscript', '--size', 28, 42, '--out', out, '--overwrite', status=1
    )
    assert re.search('differs.*depth', said)
    assert out.read_text() == 'the last good one' and [
        file.name for file in tmp_path.iterdir()
    ] == ['model.ts']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--format', 'torchscript', '--dynamic'), '--dynamic'),
        (('--dynamic', '--size', '37', '50'), 'multiples of 14'),
        (('--tasks', 'flow'), "'flow'"),
    ],
)
def test_bad_options_are_named(export, tmp_path, options, message):
    said = export('--out', tmp_path / 'model', *options, status=1)
    assert message in said and 'Traceback' not in said
    assert not list(tmp_path.iterdir())


def require_int8(export, model, photo, monkeypatch):
    """The command makes a file in int8 of ``model``, which stands for what it would write itself:
    that takes long.
    """
    monkeypatch.setattr(
        'm2h_mm.inference.export.export', lambda _, path, *__: shutil.copy(model, path)
    )
    out = photo.parent / 'new' / 'int8.onnx'
    said = export('--int8', '--calibrate', photo, '--size', 37, 50, '--out', out, '--repeats', 1)
    assert 'compared on: 1.' in said and 'degrees' in said and 'exported / float32' in said
    assert [path.name for path in out.parent.iterdir()] == ['int8.onnx']
    _, metadata = load_runner().load(str(out), 'CPUExecutionProvider')
    assert metadata['precision'] == 'int8' and list(metadata['outputs']) == TASKS


@pytest.mark.parametrize(
    'options',
    [
        ('--calibrate', 'a.png'),
        ('--weight-bits', 7),
        ('--int8', '--fp16'),
        ('--int8', '--format', 'torchscript'),
    ],
)
def test_what_does_not_go_with_int8_is_refused(export, options):
    assert '--int8' in export(*options, status=2)
