"""What a file is that was taken for a checkpoint."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile, ZipFile

_HEAD = 512
_SHOWN = 40
# How files of other kinds begin, what they are, and the way out.
_UNPACK = 'Unpack it first'
_KINDS = (
    (
        b'version https://git-lfs',
        'a pointer of Git LFS in place of the file',
        'Fetch the file by git lfs pull',
    ),
    (b'\x1f\x8b', 'compressed by gzip', _UNPACK),
    (b'BZh', 'compressed by bzip2', _UNPACK),
    (b'\xfd7zXZ', 'compressed by xz', _UNPACK),
    (b'\x28\xb5\x2f\xfd', 'compressed by zstd', _UNPACK),
    (b'7z\xbc\xaf', 'an archive of 7-Zip', _UNPACK),
    (b'Rar!', 'an archive of RAR', _UNPACK),
    (
        b'\x89HDF',
        'a file of HDF5, such as Keras writes',
        'Expected a file that torch.save has written',
    ),
    (b'\x93NUMPY', 'an array of NumPy', 'Expected a file that torch.save has written'),
    (b'\x89PNG', 'a PNG image', 'Name the checkpoint'),
    (b'\xff\xd8\xff', 'a JPEG image', 'Name the checkpoint'),
    (b'%PDF', 'a PDF document', 'Name the checkpoint'),
)


def describe_foreign(path: Path) -> str | None:
    """What a file is and the way out, None if it may be one of ``torch.save`` or of safetensors.

    Only its first bytes and, of an archive, the names in it are read.

    Args:
        path: of an existing file.
    """
    with open(path, 'rb') as file:
        head = file.read(_HEAD)
    if not head:
        return 'empty (0 bytes): copying or downloading it has failed. Fetch it again'
    for begin, kind, way_out in _KINDS:
        if head.startswith(begin):
            return f'{kind}. {way_out}'
    if head.startswith(b'PK'):
        return _describe_archive(path)
    if head[257:262] == b'ustar':
        return f'a tar archive. {_UNPACK}'
    return _describe_text(head)


def _describe_archive(path: Path) -> str | None:
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        return None  # of torch.save's, one that was cut off
    if any(name.endswith('/constants.pkl') for name in names):
        return (
            'a TorchScript program (torch.jit.save). Export its weights: torch.save(torch.jit.'
            "load(SRC).state_dict(), 'DST.pth')"
        )
    if any(name.endswith('data.pkl') for name in names):
        return None
    if names and all(name.endswith('.npy') for name in names):
        return (
            'an archive of NumPy arrays (.npz), which only m2h-mm convert-checkpoint m2h reads. '
            'Expected a file that torch.save has written'
        )
    shown = ', '.join(name[:_SHOWN] for name in names[:3])
    return f'a zip archive that torch.save did not write (of {shown or "nothing"}). {_UNPACK}'


def _describe_text(head: bytes) -> str | None:
    try:
        text = head.decode('utf-8-sig').strip()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a letter that the first bytes end in
            return None
        text = head[: error.start].decode('utf-8-sig', 'ignore').strip()
    if not text or not all(letter.isprintable() or letter in '\r\n\t' for letter in text):
        return None
    if text.startswith('<'):
        return 'a web page, as a download that failed leaves it. Fetch the file itself again'
    return f'a text file that begins with {text[:_SHOWN]!r}. Name the checkpoint'
