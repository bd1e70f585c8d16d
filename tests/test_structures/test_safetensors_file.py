"""Files of safetensors are read as checkpoints; bad ones are refused by name."""

import json

import pytest
import torch

from m2h_mm.structures.checkpoint_file import read_checkpoint, write_checkpoint
from m2h_mm.structures.safetensors_file import is_safetensors, read_meta

TENSOR = dict(dtype='F32', shape=[1], data_offsets=[0, 4])
WHOLE = (json.dumps({'a': TENSOR}).encode(), bytes(4))


def save(path, header, data=bytes(4), length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(header) if length is None else length
    path.write_bytes(length.to_bytes(8, 'little') + header + data)
    return path


def test_what_is_written_comes_back(tmp_path):
    shared = torch.rand(2, 3)
    state = dict(
        a=shared,
        b=shared.t(),
        c=torch.rand(1, 4, 3, 3).to(memory_format=torch.channels_last),
        d=torch.tensor(7),
        e=torch.ones(3).half(),
    )
    path = tmp_path / 'w.safetensors'
    write_checkpoint(path, state, dict(m2h_mm=dict(size=(1, 2)), config='a.py'))
    for mmap in (False, True):
        content = read_checkpoint(path, mmap=mmap)
        assert all(torch.equal(content['state_dict'][name], state[name]) for name in state)
        assert all(content['state_dict'][name].dtype == state[name].dtype for name in state)
    assert content['meta'] == dict(format='pt', m2h_mm=dict(size=[1, 2]), config='a.py')
    assert read_meta(path) == content['meta'] and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="w.safetensors: of 'number' safetensors keeps text"):
        write_checkpoint(path, state, dict(number=3))


def test_another_name_changes_nothing(tmp_path):
    assert read_checkpoint(save(tmp_path / 'w.pth', *WHOLE))['state_dict']['a'] == 0
    torch.save(dict(a=torch.ones(1)), tmp_path / 'w.pt')
    assert not is_safetensors(tmp_path / 'w.pt')


def other(**changed):
    return json.dumps({'a': TENSOR, 'b': {**TENSOR, **changed}}).encode()


@pytest.mark.parametrize(
    ('header', 'data', 'length'),
    [
        (*WHOLE, 2**40),
        (*WHOLE, 2**64 - 1),
        (b'{"a": ', bytes(4), None),
        (b'{"a":' + b'[' * 10**5, b'', None),
        (other(), bytes(4), None),  # both in one place
        (other(data_offsets=[2, 6]), bytes(6), None),
        (other(shape=[-1]), bytes(8), None),
        (other(shape=[2**62, 2**62], data_offsets=[4, 8]), bytes(8), None),
        (other(dtype='OBJECT', data_offsets=[4, 8]), bytes(8), None),
        (WHOLE[0], b'', None),
        (WHOLE[0], bytes(400), None),
        # The same name twice, and the metadata.
        (WHOLE[0][:-1] + b',"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', bytes(8), None),
        (b'{"__metadata__":{},"__metadata__":{}}', b'', None),
        ({'__metadata__': {'m2h_mm': {'model': {}}}}, b'', None),
        (b'torch', b'', None),
    ],
)
def test_a_bad_file_is_named(tmp_path, header, data, length):
    path = save(tmp_path / 'bad.safetensors', header, data, length)
    with pytest.raises(ValueError, match='bad.safetensors.*(cannot be read|is no checkpoint)'):
        read_checkpoint(path)


@pytest.mark.parametrize('text', ['', '{"model":', '[' * 10**5, '1' * 5000])
def test_metadata_that_are_not_ours_stay_text(tmp_path, text):
    path = save(tmp_path / 'a.safetensors', {'__metadata__': {'m2h_mm': text}, 'a': TENSOR})
    assert read_meta(path) == {'m2h_mm': text}


def test_names_and_empty_tensors_are_harmless(tmp_path):
    names = ['../../outside', '__class__', '', 'a\0b']
    header = {name: dict(dtype='F32', shape=[2**40, 0], data_offsets=[0, 0]) for name in names}
    content = read_checkpoint(save(tmp_path / 'a.safetensors', header, b''))
    assert set(content['state_dict']) == set(names) and len(list(tmp_path.iterdir())) == 1
