"""Files of safetensors: tensors under names, and text about them. Nothing in one can be run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m2h_mm.system import write_atomically

SUFFIX = '.safetensors'
# Values under such keys of the metadata are JSON, all others are plain text.
JSON_KEYS = 'm2h_mm'
# transformers refuses files that do not say which program's tensors they hold.
_FORMAT = dict(format='pt')


def is_safetensors(path: str | Path) -> bool:
    """Whether a file is one of safetensors: by its name, as ``torch.load`` has it too, or by its
    first bytes.
    """
    if Path(path).suffix == SUFFIX:
        return True
    with open(path, 'rb') as file:
        head = file.read(9)
    length = int.from_bytes(head[:8], 'little')
    return head[8:] == b'{' and length <= Path(path).stat().st_size


def read_safetensors(
    path: str | Path, map_location: Any = 'cpu', mmap: bool = False
) -> dict[str, dict[str, Any]]:
    """The content of a file of safetensors, in the form of a checkpoint.

    Args:
        path: the file.
        map_location: the device of its tensors, as of ``torch.load``; anything but a device or its
            name is the CPU.
        mmap: read values when they are first used: for shapes alone.

    Returns:
        ``state_dict``, name to tensor; ``meta``, see :func:`read_meta`.

    Raises:
        ValueError: it is damaged: a header that is too long or no JSON, tensors that overlap or
            reach beyond the end, ...
    """
    with _opened(path) as file:
        try:
            # A clone, as the values stand in the file until they are asked for, and it may change.
            state = {
                name: file.get_tensor(name) if mmap else file.get_tensor(name).clone()
                for name in file.keys()  # noqa: SIM118
            }
        except Exception as error:  # a kind of number that this torch does not have
            raise _damaged(path, error) from error
        meta = _from_text(file.metadata())
    if isinstance(map_location, (str, torch.device)) and str(map_location) != 'cpu':
        state = {name: value.to(map_location) for name, value in state.items()}
    return dict(state_dict=state, meta=meta)


def read_meta(path: str | Path) -> dict[str, Any]:
    """What a file of safetensors says of its tensors: name to text, and to plain data where this
    project has written it. What should be and is not stays text, for whoever reads it to refuse.

    Raises:
        ValueError: see :func:`read_safetensors`.
    """
    with _opened(path) as file:
        return _from_text(file.metadata())


def write_safetensors(
    path: str | Path, state: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> None:
    """Write a file of safetensors, whole or not at all.

    Args:
        path: the file.
        state: name to tensor, of any layout in memory; some may share theirs.
        meta: name to text; below names that begin with ``m2h_mm``, any plain data. Tuples come back
            as lists.

    Raises:
        ValueError: metadata that is not of this form.
        OSError: it could not be written.
    """
    from safetensors.torch import save

    text = {}
    for name, value in {**_FORMAT, **meta}.items():
        text[name] = json.dumps(value) if name.startswith(JSON_KEYS) else value
        if not isinstance(text[name], str):
            raise ValueError(f'{path}: of {name!r} safetensors keeps text, got {value!r}.')
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
    }
    write_atomically(path, save(tensors, text))


def _opened(path: str | Path) -> Any:
    from safetensors import safe_open

    try:
        return safe_open(path, 'pt')
    except OSError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: str | Path, error: Exception) -> ValueError:
    return ValueError(
        f'{path}: this file of safetensors cannot be read ({str(error)[:300]}). It is cut off, '
        'damaged, or something else: fetch or copy it again.'
    )


def _from_text(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    meta: dict[str, Any] = dict(metadata or {})
    for name in [name for name in meta if name.startswith(JSON_KEYS)]:
        try:
            meta[name] = json.loads(meta[name])
        except (ValueError, RecursionError):
            pass
    return meta
