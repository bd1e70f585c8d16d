"""Reading checkpoints without running what may be in them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

# How NumPy arrays and scalars are pickled.
_ARRAY_PARTS = (
    np.ndarray,
    np.dtype,
    np.array([0]).__reduce__()[0],
    np.float64(0).__reduce__()[0],
    *(type(np.dtype(kind)) for kind in ('f4', 'f8', 'i4', 'i8', 'b1')),
)


def _history_method(owner: type, name: str) -> object:
    """Stands in for ``getattr``, by which the pickle of a ``HistoryBuffer`` refers to that class's
    own methods.
    """
    if owner is not HistoryBuffer or name.startswith('_'):
        raise UnpicklingError(f'getattr({owner!r}, {name!r})')
    return getattr(owner, name)


_history_method.__module__, _history_method.__qualname__ = 'builtins', 'getattr'
# How the keys of the authors' own checkpoints begin, the method, and the tool that converts them.
OFFICIAL_LAYOUTS = (
    ('mlt_head.', 'M2H', 'm2h'),
    ('multi_task_decoder.', 'InvPT', 'invpt'),
    ('distillation_scale_', 'MTI-Net', 'mti_net'),
    ('multi_modal_distillation.', 'PAD-Net', 'mti_net'),
)
# Keys of what only a training needs, the state of the loss weighting.
TRAINING_STATE = 'weighting.'
# What mmengine's checkpoints hold beside tensors: the logged curves.
SAFE_GLOBALS = [HistoryBuffer, _history_method, *_ARRAY_PARTS]


def allow_logged_curves() -> None:
    """Let ``torch.load(weights_only=True)`` read what mmengine's checkpoints hold beside tensors."""
    torch.serialization.add_safe_globals(SAFE_GLOBALS)


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> Any:
    """Load a file of tensors with ``weights_only=True``.

    Args:
        path: the file.
        map_location: where its tensors go, as of ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, is damaged, or holds objects that would run code when
            loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no checkpoint {path}.')
    try:
        allow_logged_curves()
        return torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        raise ValueError(
            f'Checkpoint {path} was not loaded: it is damaged, or holds more than '
            'tensors and could run '
            'code. If you trust its source, load it once with torch.load(..., '
            'weights_only=False) and '
            "save only its 'state_dict'."
        ) from error
    except Exception as error:  # on damaged files, nearly anything
        raise ValueError(
            f'Checkpoint {path} cannot be read ({repr(error).splitlines()[0]}).'
        ) from error


# mmengine tries weights_only=True and, where that is refused, runs what is in the file. These take
# the place of its loaders for whoever loads through it: --resume, load_from, init_cfg, the
# backbones of mmseg.
@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> Any:
    """:func:`read_checkpoint` for mmengine."""
    return _without_config(read_checkpoint(Path(filename).expanduser(), map_location))


def _never_running_code(loader: Callable) -> Callable:
    """A loader of mmengine for what is not on the disk (``https://``, ``open-mmlab://``, ...), as
    safe as :func:`read_checkpoint`.
    """

    @functools.wraps(loader)
    def load(filename: str, map_location: Any = None) -> Any:
        allow_logged_curves()
        try:
            with mock.patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD='1'):
                return _without_config(loader(filename, map_location))
        except UnpicklingError as error:
            raise ValueError(
                f'Checkpoint {filename} was not loaded: it is damaged, or holds more '
                'than tensors and '
                'could run code.'
            ) from error

    return load


def _without_config(content: Any) -> Any:
    """Runner.resume() runs a config that it finds in a checkpoint under this name, by which none is
    saved any more.
    """
    if isinstance(content, Mapping) and isinstance(content.get('meta'), dict):
        content['meta'].pop('config', None)
    return content


for _scheme, _loader in list(CheckpointLoader._schemes.items()):
    if _scheme:
        CheckpointLoader.register_scheme(_scheme, _never_running_code(_loader), force=True)


def load_weights(model: nn.Module, path: str | Path, checkpoint: Any = None) -> None:
    """Load the weights of a checkpoint of this project into ``model``.

    Args:
        model: gets them.
        path: the file.
        checkpoint: what it holds, where it has been read already.

    Raises:
        FileNotFoundError, ValueError: see :func:`read_checkpoint`; also if the weights are another
            architecture's, with the first keys that differ.
    """
    checkpoint = read_checkpoint(path) if checkpoint is None else checkpoint
    state: dict[str, Tensor] = checkpoint.get('state_dict', checkpoint)
    for prefix, method, tool in OFFICIAL_LAYOUTS:
        if any(key.removeprefix('module.').startswith(prefix) for key in state):
            raise ValueError(
                f'{path} has the layout of the official {method} code. Convert it '
                'first: '
                f'python tools/model_converters/{tool}.py {path} converted.pth '
                '--config CONFIG'
            )
    target = unwrap(model)
    own = target.state_dict()
    missing = [key for key in own if key not in state and not key.startswith(TRAINING_STATE)]
    unexpected = [key for key in state if key not in own and not key.startswith(TRAINING_STATE)]
    shapes = [
        f'{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}'
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or unexpected or shapes:
        found = [
            f'{len(keys)} {what} (such as {keys[0]})'
            for what, keys in (
                ('missing', missing),
                ('not in the model', unexpected),
                ('of another shape', shapes),
            )
            if keys
        ]
        raise ValueError(
            f"{path} does not fit the config's model: weights {', '.join(found)}. Use "
            'the config that the '
            'checkpoint was trained with, with the same --cfg-options.'
        )
    target.load_state_dict(state, strict=False)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper, or ``model`` itself."""
    return model.module if is_model_wrapper(model) else model
