"""A file that is no checkpoint is called by its name."""

from zipfile import ZipFile

import numpy as np
import pytest
import torch

from m2h_mm.structures.checkpoint_file import read_checkpoint
from m2h_mm.structures.file_kind import describe_foreign


@pytest.mark.parametrize(
    ('content', 'kind'),
    [
        (b'', r'empty \(0 bytes\)'),
        (b'\n <!DOCTYPE html><title>404</title>', 'a web page'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:1', 'a pointer of Git LFS'),
        (b'Not Found', "a text file that begins with 'Not Found'"),
        ('größer als '.encode() * 99, 'a text file'),
        (b'\x1f\x8b\x08', 'compressed by gzip. Unpack it first'),
        (b'\x89HDF\r\n', 'a file of HDF5'),
        (bytes(257) + b'ustar', 'a tar archive'),
    ],
)
def test_it_is_named(tmp_path, content, kind):
    path = tmp_path / 'w.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'w.pth is no checkpoint, it is {kind}'):
        read_checkpoint(path)


def test_archives_are_told_apart(tmp_path):
    path = tmp_path / 'w.pth'
    with ZipFile(path, 'w') as archive:
        archive.writestr('photos/a.jpg', b'')
    assert 'a zip archive that torch.save did not write (of photos/a.jpg)' in describe_foreign(path)
    with open(path, 'wb') as file:
        np.savez(file, a=np.ones(1))
    assert '.npz' in describe_foreign(path)
    torch.jit.trace(torch.nn.Identity(), torch.ones(1)).save(str(path))
    assert 'TorchScript' in describe_foreign(path)


@pytest.mark.parametrize('new', [True, False])
def test_files_of_torch_are_not_foreign(tmp_path, new):
    path = tmp_path / 'w.pth'
    torch.save(dict(a=torch.ones(1)), path, _use_new_zipfile_serialization=new)
    assert describe_foreign(path) is None
    assert read_checkpoint(path, mmap=True)['a'] == 1


def test_a_folder_and_a_whole_module_are_named(tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / 'module.pth')
    with pytest.raises(ValueError, match='a whole module, torch.nn.modules.linear.Linear'):
        read_checkpoint(tmp_path / 'module.pth')
    with pytest.raises(FileNotFoundError, match='is a folder.*such as module.pth'):
        read_checkpoint(tmp_path)
