"""Functions of the runner of ONNX files, which imports nothing of the package."""

import importlib.util
import json
import math
import os

import numpy as np
import pytest
from full_disk import full_disk
from fuzz_onnx import good_description, good_model

from m2h_mm.inference.deployed_model import DeployedModel
from m2h_mm.inference.export import export_metadata
from m2h_mm.inference.loading import load_model

from .conftest import REPOSITORY

pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def run_onnx():
    path = REPOSITORY / 'tools' / 'deployment' / 'run_onnx.py'
    spec = importlib.util.spec_from_file_location('run_onnx', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_full_disk_leaves_no_part_of_a_file(run_onnx, tmp_path):
    with full_disk(100), pytest.raises(ValueError, match='a.npy cannot be written.*Make room'):
        with run_onnx.writing(str(tmp_path / 'depth' / 'a.npy')) as content:
            np.save(content, np.zeros(100))
    assert os.listdir(tmp_path / 'depth') == []
    with run_onnx.writing(str(tmp_path / 'depth' / 'a.npy')) as content:
        np.save(content, np.ones(100))
    assert np.load(tmp_path / 'depth' / 'a.npy').sum() == 100


def damage(description, *keys, value):
    part = description
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value


@pytest.mark.parametrize(
    ('keys', 'value'),
    [
        (('outputs',), {}),
        (('outputs',), []),
        (('outputs', 'depth'), 3),
        (('outputs', 'semseg', 'palette'), [[0, 0, 256]]),
        (('outputs', 'semseg', 'palette'), [1, 2, 3]),
        (('input', 'size'), [2**40, 28]),
        (('input', 'size'), [42, 28]),
        (('input', 'size'), 28),
        (('input', 'dynamic'), None),
        (('input', 'divisor'), 0),
        (('input',), None),
        (('resize', 'keep_within'), math.nan),
        (('resize', 'size'), [1]),
        (('normalisation', 'mean'), [1, 2]),
        (('normalisation', 'mean'), [1, 2, 10**400]),
        (('normalisation', 'mean'), [1, 2, math.inf]),
        (('normalisation', 'mean'), ['a', 'b', 'c']),
    ],
)
def test_a_damaged_description_is_a_message(run_onnx, tmp_path, keys, value):
    model, description = good_model(), good_description()
    damage(description, *keys, value=value)
    model.metadata_props.add(key='m2h_mm', value=json.dumps(description))
    (tmp_path / 'model.onnx').write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match='damaged or old; export it again'):
        run_onnx.load(str(tmp_path / 'model.onnx'), 'CPUExecutionProvider')


def test_what_is_no_model_is_a_message(run_onnx, tmp_path):
    for number, data in enumerate((b'', b'PK\x03\x04', good_model().SerializeToString()[:-9])):
        (tmp_path / f'{number}.onnx').write_bytes(data)
        with pytest.raises(ValueError, match='the model .* (cannot be loaded|describes no)'):
            run_onnx.load(str(tmp_path / f'{number}.onnx'), 'CPUExecutionProvider')


@pytest.mark.parametrize(
    ('name', 'output'),
    [
        ('depth', np.zeros((1, 1, 28, 41), np.float32)),
        ('depth', np.zeros((1, 28, 42), np.float32)),
        ('depth', np.zeros((1, 0, 28, 42), np.float32)),
        ('depth', np.zeros((1, 1, 28, 42), bool)),
        ('semseg', np.full((1, 1, 28, 42), 5)),
        ('semseg', np.zeros((1, 2, 28, 42), int)),
        ('semseg', np.zeros((1, 1, 28, 42), np.float32)),
        ('normals', np.zeros((1, 1, 28, 42), np.float32)),
    ],
)
def test_outputs_are_what_the_model_says(run_onnx, name, output):
    shapes = dict(depth=(np.float32, 1), semseg=(np.int64, 1), normals=(np.float32, 3))
    outputs = {key: np.zeros((1, count, 28, 42), kind) for key, (kind, count) in shapes.items()}
    run_onnx.require_outputs(good_description(), list(outputs.values()), (28, 42))
    outputs[name] = output
    with pytest.raises(ValueError, match=f'the model yields {name} as .*Export it again'):
        run_onnx.require_outputs(good_description(), list(outputs.values()), (28, 42))


@pytest.mark.parametrize('name', ['../depth', '/depth', 'a/b', '', '..'])
def test_nothing_is_written_outside_whatever_a_model_calls_its_outputs(run_onnx, tmp_path, name):
    model, description = good_model(), good_description()
    description['outputs'][name] = dict(unit_vectors=False)
    model.metadata_props.add(key='m2h_mm', value=json.dumps(description))
    (tmp_path / 'model.onnx').write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match='the model calls an output'):
        run_onnx.load(str(tmp_path / 'model.onnx'), 'CPUExecutionProvider')


def test_depth_of_a_narrower_view_is_farther(run_onnx, tiny):
    model = load_model(tiny[1], options={'model.data_preprocessor.canonical_focal': 50.0})[0]
    outputs = export_metadata(DeployedModel(model), (28, 42))['outputs']
    assert [name for name in outputs if 'focal_over_width' in outputs[name]] == ['depth']
    # In the file a view of 60 degrees is assumed, over all of its width.
    assert run_onnx.lens(outputs['depth'], 60, 42, 42) == pytest.approx(1)
    assert run_onnx.lens(outputs['depth'], 60, 21, 42) == pytest.approx(0.5)
    assert run_onnx.lens(outputs['depth'], 30, 42, 42) == pytest.approx(
        math.tan(math.pi / 6) / math.tan(math.pi / 12)
    )
