"""A model as one file."""

import json

import numpy as np
import pytest
import torch
from exported_files import OF_ANOTHER_PROGRAM, RANGES, TASKS, require_metadata, require_same
from full_disk import full_disk
from mmseg.models.utils import Upsample
from torch import nn

from m2h_mm.engine.config import load_config, restrict_tasks
from m2h_mm.inference.deployed_model import DeployedModel, replace_upsampling
from m2h_mm.inference.export import (
    METADATA,
    SUFFIXES,
    _write_torch_export,
    _write_torchscript,
    default_size,
    differences,
    example,
    export,
    load,
    move_files,
)
from m2h_mm.inference.inferencer import M2HInferencer
from m2h_mm.inference.loading import load_model
from m2h_mm.models.backbones.position_embedding import interpolate_position_embedding
from m2h_mm.models.interactions import WMCA
from m2h_mm.registry import MODELS

SIZE = (37, 50)  # no multiples of 14
IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def inferencer(tiny):
    return M2HInferencer(tiny[1], device='cpu', show_progress=False)


def as_input(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None].float()


def read_metadata(path, format):
    files = {METADATA: ''}
    if format == 'torchscript':
        torch.jit.load(str(path), _extra_files=files)
        return files[METADATA]
    torch.export.load(str(path), extra_files=files)
    return files[METADATA]


def test_the_module_predicts_what_the_inferencer_does(inferencer):
    maps = inferencer(IMAGE)['predictions'][0]
    with torch.inference_mode():
        require_same(DeployedModel(inferencer.model)(as_input(IMAGE)), maps, SIZE, 1e-6)


# Of an ONNX file this is in test_deployment.py, of one that the command wrote: they take long.
@pytest.mark.parametrize('format', [name for name in SUFFIXES if name != 'onnx'])
def test_an_exported_file_predicts_what_the_inferencer_does(inferencer, tmp_path, format):
    path = tmp_path / 'sub' / f'model{SUFFIXES[format]}'
    classes = [f'class {index}' for index in range(40)]
    export(DeployedModel(inferencer.model).eval(), path, format, SIZE, dict(semseg=classes))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with torch.no_grad():
        maps = inferencer(IMAGE)['predictions'][0]
        require_same(load(path, format)(as_input(IMAGE)), maps, SIZE, OF_ANOTHER_PROGRAM)
    require_metadata(json.loads(read_metadata(path, format)), SIZE, classes)


def test_raw_outputs_and_chosen_tasks(inferencer):
    image = example((84, 112))
    deployed = DeployedModel(inferencer.model, ['edge', 'depth'], raw=True)
    assert deployed.names == ('depth', 'edge')
    with torch.inference_mode():
        outputs = deployed(image)
        expected = inferencer.model(
            (image - inferencer.pipeline.mean) / inferencer.pipeline.std, mode='tensor'
        )
    for name, output in zip(deployed.names, outputs, strict=True):
        torch.testing.assert_close(output, expected[name], atol=1e-5, rtol=0)
        assert output.shape[-1] < 112 * 2


def test_float16_is_close_and_yields_float32(tiny):
    exact, half = (
        DeployedModel(M2HInferencer(tiny[1], device='cpu').model, half=half)
        for half in (False, True)
    )
    image = example((42, 56))
    with torch.inference_mode():
        outputs = half(image)
    assert [output.dtype for output in outputs] == [torch.int64] + [torch.float32] * 3
    found = differences(half, exact, image, TASKS)
    assert 0 < found['depth'] < 0.05 and 0 < found['edge'] < 0.05


def test_what_does_not_go_together_is_refused(inferencer, tmp_path):
    deployed = DeployedModel(inferencer.model, dynamic=True)
    with pytest.raises(ValueError, match='--dynamic.*TorchScript'):
        export(deployed, tmp_path / 'model.ts', 'torchscript', (42, 56))
    with pytest.raises(ValueError, match='multiples of 14.*got 37x50'):
        export(deployed, tmp_path / 'model.onnx', 'onnx', SIZE)
    with pytest.raises(ValueError, match="--tasks.*'flow'"):
        DeployedModel(inferencer.model, ['flow'])
    assert not list(tmp_path.iterdir())


def test_a_file_takes_what_the_model_was_trained_on_unless_a_size_is_said(inferencer, monkeypatch):
    fixed, dynamic = (DeployedModel(inferencer.model, dynamic=value) for value in (False, True))
    assert default_size(fixed) == default_size(dynamic) == (84, 112)
    monkeypatch.setattr(inferencer.pipeline, 'size', (90, 120))
    assert default_size(fixed) == (90, 120) and default_size(dynamic) == (84, 126)
    monkeypatch.setattr(inferencer.pipeline, 'size', None)
    with pytest.raises(ValueError, match='--size: expected'):
        default_size(fixed)


def test_a_dynamic_module_takes_images_as_they_are(inferencer):
    image = example((42, 70))
    with torch.inference_mode():
        seen = DeployedModel(inferencer.model, dynamic=True)(image)
        inputs = (image - inferencer.pipeline.mean) / inferencer.pipeline.std
        outputs = inferencer.model(inputs, mode='tensor')
    expected = torch.nn.functional.interpolate(outputs['depth'], (42, 70), mode='bilinear')
    torch.testing.assert_close(seen[1], expected.clamp(1e-3, 10), atol=1e-5, rtol=0)


def test_a_dynamic_file_takes_any_number_of_images_of_any_size(tiny, tmp_path):
    """Of two tasks that exchange and are merged: an export's time grows with their number."""
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    model = MODELS.build(restrict_tasks(load_config(tiny[0]), ['semseg', 'depth']).model)
    weights = load_model(tiny[1])[0].state_dict()
    shared = {name for name in model.state_dict() if not name.startswith('weighting.')}
    model.load_state_dict({name: weights[name] for name in shared}, strict=False)
    deployed = DeployedModel(model, ['depth'], dynamic=True).eval()
    export(deployed, tmp_path / 'model.onnx', 'onnx')
    run = load(tmp_path / 'model.onnx', 'onnx')
    for number, size in ((1, (84, 112)), (3, (98, 154))):
        found = differences(run, deployed, example(size, number), deployed.names)
        assert found['depth'] < 1e-5 * RANGES['depth']


@pytest.mark.parametrize('write', [_write_torchscript, _write_torch_export])
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path, write):
    layer, image = torch.nn.Conv2d(3, 8, 5), torch.zeros(1, 3, 8, 8)
    with full_disk(500), pytest.raises(OSError):
        write(layer, image, tmp_path / 'a.pt2', False, '{}')


def test_an_empty_file_of_a_model_is_not_moved(tmp_path):
    (tmp_path / 'from').mkdir()
    (tmp_path / 'from' / 'a.onnx').touch()
    with pytest.raises(OSError, match='a.onnx could not be written: No space left'):
        move_files(tmp_path / 'from', tmp_path)


def test_differences_are_found():
    image = example((4, 4))
    found = differences(
        lambda x: (x, (x > 128).long()),
        lambda x: (x + 2, (x > -1).long()),
        image,
        ['depth', 'semseg'],
    )
    assert (
        found['depth'] == pytest.approx(2, abs=1e-4)
        and found['semseg'] == float((image <= 128).float().mean()) > 0
    )


DYNAMIC = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}


class Exchange(nn.Module):
    """WMCA for maps given as tensors."""

    def __init__(self, **options):
        super().__init__()
        self.wmca = WMCA(8, ('depth', 'edge'), window_size=3, num_heads=2, **options)

    def forward(self, depth, edge):
        return tuple(self.wmca(dict(depth=depth, edge=edge)).values())


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(mask_padding=True, dilation=2),
        dict(pooling=2, reduction=2),
        dict(
            mask_padding=True,
            position_bias=True,
            per_task=['qkv', 'ffn'],
            listens_to='task_per_head',
            residual=True,
        ),
    ],
)
def test_windows_of_a_size_that_is_not_known_yet(options):
    torch.manual_seed(0)
    module = Exchange(**options).eval()
    shapes = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    with torch.no_grad():
        exported = torch.export.export(
            module,
            (torch.randn(1, 8, 10, 14), torch.randn(1, 8, 10, 14)),
            dynamic_shapes=dict(depth=shapes, edge=shapes),
        ).module()
        for size in ((10, 14), (12, 12), (13, 31)):  # two windows or more
            maps = torch.randn(1, 8, *size), torch.randn(1, 8, *size)
            for ours, theirs in zip(exported(*maps), module(*maps), strict=True):
                torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_upsampling_of_mmseg_takes_a_size_that_is_not_known_yet():
    plain, replaced = (
        nn.Sequential(Upsample(scale_factor=2, mode='bilinear', align_corners=False))
        for _ in range(2)
    )
    replace_upsampling(replaced)
    shapes = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    exported = torch.export.export(
        replaced, (torch.zeros(1, 2, 4, 6),), dynamic_shapes=(shapes,)
    ).module()
    for size in ((4, 6), (5, 9)):
        x = torch.randn(1, 2, *size)
        assert torch.equal(exported(x), plain(x))


class Positions(nn.Module):
    """A position embedding at the size of a map."""

    def __init__(self, offset, antialias):
        super().__init__()
        self.register_buffer('embedding', torch.randn(1, 1 + 5 * 5, 4))
        self.options = offset, antialias

    def forward(self, x):
        return interpolate_position_embedding(self.embedding, x.shape, *self.options)


@pytest.mark.parametrize(('offset', 'antialias'), [(0.1, False), (0.0, True)])
def test_positions_of_a_size_that_is_not_known_yet(offset, antialias):
    torch.manual_seed(0)
    module = Positions(offset, antialias)
    exported = torch.export.export(
        module, (torch.zeros(6, 9),), dynamic_shapes=dict(x=DYNAMIC)
    ).module()
    for size in (
        (6, 9),
        (5, 5),
        (5, 7),
        (3, 20),
    ):  # 5x5 is the embedding's own, which stays as it is
        torch.testing.assert_close(
            exported(torch.zeros(size)), module(torch.zeros(size)), atol=1e-6, rtol=0
        )
    assert torch.equal(module(torch.zeros(5, 5)), module.embedding)
