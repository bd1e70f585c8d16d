"""A reader of GLB files, written by the book and not by our writer."""

import json
import struct

import numpy as np

KINDS = {5126: '<f4', 5125: '<u4', 5123: '<u2'}


def read_glb(path):
    """Position, colour and index arrays, by a reader of its own."""
    data = path.read_bytes()
    assert struct.unpack_from('<4sII', data) == (b'glTF', 2, len(data))
    length, kind = struct.unpack_from('<I4s', data, 12)
    assert kind == b'JSON' and length % 4 == 0
    scene = json.loads(data[20 : 20 + length])
    size, kind = struct.unpack_from('<I4s', data, 20 + length)
    binary = data[28 + length :]
    assert (
        kind == b'BIN\0'
        and size == len(binary) == scene['buffers'][0]['byteLength']
        and size % 4 == 0
    )
    arrays = []
    for accessor in scene['accessors']:
        view = scene['bufferViews'][accessor['bufferView']]
        assert view['byteOffset'] % 4 == 0
        content = binary[view['byteOffset'] : view['byteOffset'] + view['byteLength']]
        array = np.frombuffer(content, KINDS[accessor['componentType']]).reshape(
            accessor['count'], -1
        )
        assert array.shape[1] == int({'SCALAR': '1'}.get(accessor['type'], accessor['type'][-1]))
        arrays.append(array)
    np.testing.assert_array_equal(scene['accessors'][0]['min'], arrays[0].min(axis=0))
    np.testing.assert_array_equal(scene['accessors'][0]['max'], arrays[0].max(axis=0))
    return arrays
