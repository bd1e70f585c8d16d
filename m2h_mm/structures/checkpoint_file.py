"""Reading a checkpoint file without running what may be in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

# Keys of what only a training needs, the state of the loss weighting: a model does without.
TRAINING_STATE = 'weighting.'


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


def refuse_code(source: str | Path) -> ValueError:
    """The error for a file that holds more than ``torch.load(weights_only=True)`` takes."""
    return ValueError(
        f'Checkpoint {source} was not loaded: it is damaged, or holds more than tensors and '
        'could run code. If you trust its source, load it once with torch.load(..., '
        "weights_only=False) and save only its 'state_dict'."
    )


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> Any:
    """Load a file of tensors and plain values.

    Args:
        path: the file.
        map_location: where its tensors go, as of ``torch.load``. Default: the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, is damaged, or holds objects that would run code when
            loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no checkpoint {path}.')
    try:
        with known_types():
            return torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        raise refuse_code(path) from error
    except Exception as error:  # on damaged files, nearly anything
        raise ValueError(
            f'Checkpoint {path} cannot be read ({repr(error).splitlines()[0]}).'
        ) from error
