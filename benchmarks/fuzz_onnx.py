"""What is fuzzed of exported models: the file, its description, and the images beside it."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import onnxruntime
from fuzz_data import run_onnx
from fuzz_guard import Attempt
from fuzz_mutate import NAMES, mutate_bytes, mutate_tree, pick, to_json
from fuzz_seeds import good_images
from onnx import TensorProto, helper, numpy_helper

SIDES = (28, 42)
OPERATORS = (
    'Sqrt',
    'Abs',
    'Loop',
    'If',
    'Scan',
    'Expand',
    'NonZero',
    'Nothing',
    'Identity',
    'Shape',
)


def good_model() -> onnx.ModelProto:
    """Depth, classes and normals of an image, by one layer each."""
    weights = [
        numpy_helper.from_array(np.full((channels, 3, 1, 1), 0.01, np.float32), name)
        for name, channels in (('one', 1), ('five', 5), ('three', 3))
    ]
    nodes = [
        helper.make_node('Conv', ['image', 'one'], ['depth']),
        helper.make_node('Conv', ['image', 'five'], ['logits']),
        helper.make_node('ArgMax', ['logits'], ['semseg'], axis=1),
        helper.make_node('Conv', ['image', 'three'], ['raw']),
        helper.make_node('LpNormalization', ['raw'], ['normals'], axis=1),
    ]
    shapes = dict(depth=(TensorProto.FLOAT, 1), semseg=(TensorProto.INT64, 1))
    shapes['normals'] = (TensorProto.FLOAT, 3)
    graph = helper.make_graph(
        nodes,
        'model',
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, *SIDES])],
        [
            helper.make_tensor_value_info(name, kind, [1, channels, *SIDES])
            for name, (kind, channels) in shapes.items()
        ],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def good_description() -> dict:
    outputs = {
        name: dict(unit_vectors=name == 'normals', meaning='x')
        for name in ('depth', 'semseg', 'normals')
    }
    outputs['semseg'].update(classes=list('abcde'), palette=[[10 * i, 0, 0] for i in range(5)])
    return dict(
        outputs=outputs,
        raw=False,
        input=dict(size=list(SIDES), dynamic=False, divisor=14, range=[0, 255]),
        resize=dict(part_of_model=False, size=None, keep_within=1.0, max_pixels=2**21),
        normalisation=dict(mean=[123.0, 116, 103], std=[58.0, 57, 57]),
    )


def hostile(rng: np.random.Generator, model: onnx.ModelProto) -> str:
    """Change a model in place: names, shapes, operators, and files outside of it."""
    graph = model.graph
    change = int(rng.integers(7))
    if change == 0:
        weight = pick(rng, graph.initializer)
        weight.ClearField('raw_data')
        weight.data_location = TensorProto.EXTERNAL
        name = pick(rng, (*NAMES[:7], 'model.onnx', '../outside/passwd'))
        for key, value in dict(
            location=name, offset='0', length=str(pick(rng, (4, 12, 2**40)))
        ).items():
            weight.external_data.add(key=key, value=value.encode('utf-8', 'replace').decode())
        return f'external data {name!r}'
    if change == 1:
        weight = pick(rng, graph.initializer)
        weight.dims[:] = [
            int(pick(rng, (0, 1, -1, 2**31, 2**62))) for _ in range(int(rng.integers(5)))
        ]
        return f'dims {list(weight.dims)}'
    if change == 2:
        node = pick(rng, graph.node)
        node.op_type = pick(rng, OPERATORS)
        return f'operator {node.op_type}'
    if change == 3:
        found = pick(rng, (*graph.output, *graph.input, *graph.node))
        if hasattr(found, 'op_type'):
            found.output[0] = 'x'
        else:
            found.name = pick(rng, ('../x', 'a', ''))
        return 'name'
    if change == 4:
        value = pick(rng, (*graph.output, *graph.input))
        del value.type.tensor_type.shape.dim[int(rng.integers(4))]
        return 'rank'
    if change == 5:  # an output of another size, or one that fills the memory
        name = pick(rng, ('depth', 'semseg', 'normals'))
        axes = [int(pick(rng, (1, 2, 3, 2**40))) for _ in range(4)]
        graph.initializer.append(numpy_helper.from_array(np.array(axes), 'repeats'))
        node = next(node for node in graph.node if node.output[0] == name)
        node.output[0] = 'before'
        graph.node.append(helper.make_node('Tile', ['before', 'repeats'], [name]))
        for output in graph.output:
            if output.name == name:
                output.type.tensor_type.ClearField('shape')
        return f'tiles {axes}'
    for output in graph.output:
        output.type.tensor_type.elem_type = int(pick(rng, (1, 6, 7, 9, 10, 11, 8)))
    return 'types'


class Onnx:
    """``tools/deployment/run_onnx.py``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.module, self.images = folder, run_onnx(), good_images()
        onnxruntime.set_default_logger_severity(4)
        (folder / 'outside').mkdir(exist_ok=True)

    def make(self, rng: np.random.Generator) -> Attempt:
        path, image = self.folder / 'model.onnx', self.folder / '0.png'
        model, description, notes = good_model(), good_description(), []
        picture = pick(rng, self.images)
        way = rng.random()
        if way < 0.3:
            notes.append(hostile(rng, model))
        elif way < 0.75:
            description, note = mutate_tree(rng, description)
            notes.append(note)
        elif way < 0.8:
            picture = mutate_bytes(rng, picture, self.images)
        text = to_json(rng, description) if 0.3 <= way < 0.75 else json.dumps(description).encode()
        model.metadata_props.add(key='m2h_mm', value=text.decode('utf-8', 'replace'))
        data = model.SerializeToString()
        if way >= 0.8:
            data = mutate_bytes(rng, data, [data, *self.images])
        path.write_bytes(data)
        image.write_bytes(picture)

        def run() -> None:
            said = io.StringIO()
            arguments = ['run_onnx', path, image, '--overwrite', '--out-dir', self.folder / 'out']
            with (
                mock.patch.object(sys, 'argv', list(map(str, arguments))),
                contextlib.redirect_stderr(said),
            ):
                failed = self.module.main()
            if failed and image.name not in said.getvalue():
                raise RuntimeError(f'failed with {said.getvalue()!r}')

        return Attempt(dict(main=run), ['the model', path.name], [path, image], '; '.join(notes))
