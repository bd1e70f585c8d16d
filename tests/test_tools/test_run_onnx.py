"""Functions of the runner of ONNX files, which imports nothing of the package."""

import importlib.util
import os

import numpy as np
import pytest
from full_disk import full_disk

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
