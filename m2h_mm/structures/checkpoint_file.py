"""Reading a checkpoint file without running what may be in it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from m2h_mm.structures.file_kind import describe_foreign
from m2h_mm.structures.safetensors_file import (
    SUFFIX,
    is_safetensors,
    read_safetensors,
    write_safetensors,
)
from m2h_mm.system import write_atomically

# Keys of what only a training needs, the state of the loss weighting: a model does without.
TRAINING_STATE = 'weighting.'
KINDS = ('.pth', SUFFIX)
# How torch names what it refuses.
_REFUSED = re.compile(r'(?:GLOBAL|global|class|function)\s+([A-Za-z_][\w.]*\.[\w.]*\w)')


def _history_method(owner: type, name: str) -> object:
    """A public method of ``HistoryBuffer``, and nothing else.

    mmengine's logged curves name the methods that summarise them, and pickle writes a method as a
    call of ``getattr``. A file that could call the true one would reach anything.
    """
    if owner is not HistoryBuffer or name.startswith('_'):
        raise UnpicklingError(f'getattr({owner!r}, {name!r})')
    return getattr(owner, name)


# What checkpoints of mmengine hold beside tensors: the logged curves, NumPy arrays and scalars. Our
# own need none of these, see CheckpointHook. A pair says what stands for a name in the file.
_KNOWN_TYPES = [
    HistoryBuffer,
    (_history_method, 'builtins.getattr'),
    np.ndarray,
    np.dtype,
    # NumPy's functions for an array and a scalar; they have moved between NumPy 1 and 2.
    np.array([0]).__reduce__()[0],
    np.float64(0).__reduce__()[0],
    *(type(np.dtype(kind)) for kind in ('f4', 'f8', 'i4', 'i8', 'b1')),
]


@contextmanager
def known_types() -> Iterator[None]:
    """Within it, ``torch.load(weights_only=True)`` reads what mmengine's checkpoints hold."""
    with torch.serialization.safe_globals(_KNOWN_TYPES):
        yield


def refuse_code(source: str | Path, error: Exception | None = None) -> ValueError:
    """The error for a file that holds more than ``torch.load(weights_only=True)`` takes.

    Args:
        source: the file.
        error: of torch, which names the first thing that it refused.
    """
    named = _REFUSED.search(str(error))
    what = f' ({named[1][:80]})' if named else ''
    if named and named[1].startswith('torch.nn.'):
        what = f' (a whole module, {named[1][:80]})'
    return ValueError(
        f'Checkpoint {source} was not loaded: it is damaged, or holds more than tensors{what} and '
        'could run code. If you trust its source, load it once with torch.load(..., '
        "weights_only=False) and save only its 'state_dict'."
    )


@contextmanager
def naming_errors(path: str | Path, all_kinds: bool = False) -> Iterator[None]:
    """Within it, a ValueError about what a checkpoint holds names the file.

    Args:
        path: the file.
        all_kinds: other exceptions become one as well: of code that is given what a file says, and
            that expects what our own say.
    """
    try:
        yield
    except Exception as error:
        if str(path) in str(error) or not (all_kinds or isinstance(error, ValueError)):
            raise
        cause = str(error) if isinstance(error, ValueError) else repr(error)[:300]
        raise ValueError(f'{path}: {cause}') from error


def read_checkpoint(path: str | Path, map_location: Any = 'cpu', mmap: bool = False) -> Any:
    """Load a file of tensors and plain values.

    Args:
        path: the file, of ``torch.save`` or of safetensors, which its content tells.
        map_location: where its tensors go, as of ``torch.load``. Default: the CPU.
        mmap: read values when they are first used, where the file allows it: for shapes alone.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, with what it is; is damaged, or holds objects that would
            run code when loaded.
    """
    path = Path(path)
    if path.is_dir():
        found = [file.name for kind in KINDS for file in sorted(path.glob(f'*{kind}'))]
        raise FileNotFoundError(
            f'{path} is a folder, expected a checkpoint. '
            f'Name a file in it{f", such as {found[-1]}" if found else ", it has none"}.'
        )
    if not path.is_file():
        raise FileNotFoundError(f'There is no checkpoint {path}.')
    foreign = describe_foreign(path)
    if foreign is not None:
        raise ValueError(f'{path} is no checkpoint, it is {foreign}.')
    if is_safetensors(path):
        return read_safetensors(path, map_location, mmap)
    try:
        with known_types():
            return torch.load(
                path,
                map_location=map_location,
                weights_only=True,
                mmap=mmap and is_zipfile(path) or None,
            )
    except UnpicklingError as error:
        raise refuse_code(path, error) from error
    except Exception as error:  # on damaged files, nearly anything
        raise ValueError(
            f'Checkpoint {path} cannot be read ({repr(error).splitlines()[0][:300]}). It is cut '
            'off, damaged, or something else: fetch or copy it again.'
        ) from error


def write_checkpoint(
    path: str | Path, state: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> None:
    """Write weights and what is said of them, whole or not at all.

    Args:
        path: the file; one of safetensors if its name ends so, else of ``torch.save``.
        state: name to tensor.
        meta: plain data, see :func:`~m2h_mm.structures.safetensors_file.write_safetensors`.

    Raises:
        OSError: it could not be written.
    """
    if Path(path).suffix == SUFFIX:
        write_safetensors(path, state, meta)
        return
    content = io.BytesIO()
    torch.save(dict(state_dict=dict(state), meta=dict(meta)), content)
    write_atomically(path, content.getvalue())
