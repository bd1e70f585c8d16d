"""ONNX files in int8, and with a search for the best class that suits the processor's cache."""

import json

import cv2
import numpy as np
import pytest
import torch

from m2h_mm.inference.export import METADATA, load
from m2h_mm.inference.onnx_graph import widen_argmax
from m2h_mm.inference.quantise import (
    FRAMES,
    SCOPES,
    calibration_frames,
    mean_differences,
    quantise,
    split_frames,
)

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
SIZE = (6, 8)


def write(path, nodes, weights, output, **metadata):
    """A file with the nodes (type, inputs, output, scope, attributes) between image and output."""
    from onnx import helper, numpy_helper

    made = []
    for kind, inputs, result, scope, attributes in nodes:
        node = helper.make_node(kind, inputs, [result], name=f'node_{result}', **attributes)
        node.metadata_props.add(key=SCOPES, value=repr(['', 'network', scope, 'aten']))
        made.append(node)
    of_type = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        made,
        'graph',
        [helper.make_tensor_value_info('image', of_type, (1, 3, *SIZE))],
        [helper.make_tensor_value_info(output[0], output[1], None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture
def small(tmp_path):
    """A backbone of a convolution and an activation, and a head of a convolution."""
    random = np.random.default_rng(0)
    weights = dict(
        first=random.normal(size=(4, 3, 3, 3), scale=0.01).astype(np.float32),
        second=random.normal(size=(1, 4, 3, 3)).astype(np.float32),
    )
    same = dict(pads=[1, 1, 1, 1])
    nodes = [
        ('Conv', ['image', 'first'], 'wide', 'network.backbone.stem', same),
        ('Relu', ['wide'], 'features', 'network.backbone', {}),
        ('Conv', ['features', 'second'], 'depth', 'network.heads.depth', same),
    ]
    said = json.dumps(dict(precision='fp32', outputs=dict(depth={})))
    output = ('depth', onnx.TensorProto.FLOAT)
    return write(tmp_path / 'small.onnx', nodes, weights, output, **{METADATA: said})


def test_convolutions_outside_of_heads_are_int8_and_the_file_still_says_what_it_is(small, tmp_path):
    frames = list(255 * torch.rand(4, 1, 3, *SIZE))
    quantise(small, tmp_path / 'int8.onnx', frames)
    model = onnx.load(tmp_path / 'int8.onnx')
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert types['second'] == onnx.TensorProto.FLOAT and 'first' not in types
    assert types['first_quantized'] == onnx.TensorProto.INT8
    # The activation has become a part of the convolution's range.
    assert [node.op_type for node in model.graph.node].count('Relu') == 0
    (entry,) = model.metadata_props
    assert entry.key == METADATA
    assert json.loads(entry.value) == dict(precision='int8', outputs=dict(depth={}))
    exact, rough = (load(path, 'onnx') for path in (small, tmp_path / 'int8.onnx'))
    for frame in frames:
        (expected,), (found,) = exact(frame), rough(frame)
        difference = (found - expected).abs().max() / expected.abs().max()
        assert 0 < difference < 0.03


def test_seven_bits_leave_room_for_sums_of_two_products(small, tmp_path):
    from onnx import numpy_helper

    for bits in (7, 8):
        quantise(small, tmp_path / 'int8.onnx', [255 * torch.rand(1, 3, *SIZE)], bits)
        weights = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in onnx.load(tmp_path / 'int8.onnx').graph.initializer
        }
        assert abs(weights['first_quantized'].astype(int)).max() == 2 ** (bits - 1) - (bits == 8)


def test_a_model_of_heads_alone_is_not_quantised(tmp_path):
    weights = dict(weight=np.zeros((1, 3, 1, 1), np.float32))
    nodes = [('Conv', ['image', 'weight'], 'depth', 'network.heads.depth', {})]
    path = write(tmp_path / 'a.onnx', nodes, weights, ('depth', onnx.TensorProto.FLOAT))
    with pytest.raises(ValueError, match='--int8: no convolution'):
        quantise(path, tmp_path / 'b.onnx', [])


def test_frames_are_spread_over_what_is_given(tmp_path):
    for index in range(2 * FRAMES):
        cv2.imwrite(str(tmp_path / f'{index:03d}.png'), np.full((3, 4, 3), index, np.uint8))
    frames = calibration_frames([tmp_path], SIZE)
    assert {frame.shape for frame in frames} == {(1, 3, *SIZE)}
    values = [round(frame.mean().item()) for frame in frames]
    assert len(values) == FRAMES and values[0] == 0 and values[-1] == 2 * FRAMES - 1
    calibrating, held_out = split_frames(frames)
    assert len(calibrating) == 32 and len(held_out) == 8
    # Of one image there is nothing to be held out.
    one = calibration_frames([tmp_path / '000.png'], SIZE)
    assert split_frames(one) == (one, one)


def test_rooms_are_the_frames_where_nobody_has_others(monkeypatch):
    monkeypatch.setattr('m2h_mm.inference.quantise.FRAMES', 2)
    frames = calibration_frames(None, SIZE)
    assert [frame.shape for frame in frames] == [(1, 3, *SIZE)] * 2
    assert frames[0].std() > 1 and not torch.equal(*frames)


def test_differences_have_the_unit_of_their_task():
    outputs = dict(
        semseg=dict(meaning='class id from 0', unit_vectors=False),
        depth=dict(meaning='metres along the optical axis', unit_vectors=False),
        normals=dict(meaning='unit vector', unit_vectors=True),
        edge=dict(meaning='probability of an edge', unit_vectors=False),
    )
    across, along = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    ours = [
        torch.tensor([0, 1, 1, 1]),
        torch.tensor([2.2, 4.4]),
        torch.stack([across, along], 1)[None],
        torch.tensor([0.5, 0.6]),
    ]
    theirs = [
        torch.tensor([1, 1, 1, 1]),
        torch.tensor([2.0, 4.0]),
        torch.stack([across, across], 1)[None],
        torch.tensor([0.4, 0.6]),
    ]
    found = mean_differences(lambda _: ours, lambda _: theirs, [None], outputs)
    expected = dict(
        semseg=(25, '% of pixels'),
        depth=(10, '% of the mean'),
        normals=(45, 'degrees'),
        edge=(5, '% points'),
    )
    for name, (value, unit) in expected.items():
        assert found[name][0] == pytest.approx(value, rel=1e-5) and found[name][1] == unit


def test_a_wider_map_has_the_same_best_channels(tmp_path):
    """The first of several that are equal, too."""
    nodes = [('ArgMax', ['image'], 'best', '', dict(axis=1, keepdims=1))]
    path = write(tmp_path / 'a.onnx', nodes, {}, ('best', onnx.TensorProto.INT64))
    images = [torch.randn(1, 3, *SIZE), torch.zeros(1, 3, *SIZE)]
    before = [load(path, 'onnx')(image)[0] for image in images]
    widen_argmax(path)
    assert [node.op_type for node in onnx.load(path).graph.node] == ['Pad', 'ArgMax', 'Slice']
    for image, expected in zip(images, before, strict=True):
        assert torch.equal(load(path, 'onnx')(image)[0], expected)
        assert torch.equal(image.argmax(1, keepdim=True), expected)
