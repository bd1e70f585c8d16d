"""Loading a checkpoint's weights into a model of this project."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from m2h_mm.engine.base_weights import left_out, restore_base
from m2h_mm.structures.checkpoint_file import TRAINING_STATE, read_checkpoint
from m2h_mm.structures.weights import find_weights, require_dense

_SHOWN = 4
EXTRA_STATE = '_extra_state'  # how torch ends the key of what a module keeps beside its tensors
# How the keys of the authors' own checkpoints begin, the method, and the tool that converts them.
OFFICIAL_LAYOUTS = (
    ('mlt_head.', 'M2H', 'm2h'),
    ('multi_task_decoder.', 'InvPT', 'invpt'),
    ('backbone.fea_fuse.', 'TaskPrompter', 'taskprompter'),
    ('distillation_scale_', 'MTI-Net', 'mti_net'),
    ('multi_modal_distillation.', 'PAD-Net', 'mti_net'),
)


def load_weights(model: nn.Module, path: str | Path, checkpoint: Any = None) -> None:
    """Load the weights of a checkpoint of this project into ``model``.

    Args:
        model: gets them.
        path: the file.
        checkpoint: what it holds, where it has been read already.

    Raises:
        FileNotFoundError, ValueError: see :func:`read_checkpoint`; also if the weights are another
            architecture's, with the first keys that differ; if it leaves out weights of the
            backbone, see :func:`restore_base`.
    """
    content = read_checkpoint(path) if checkpoint is None else checkpoint
    target = unwrap(model)
    restore_base(target, content, path)
    own = target.state_dict()
    state = require_fitting(own, content, path)
    target.load_state_dict(
        {key: value for key, value in state.items() if _fits(own, key, value)}, strict=False
    )


def require_fitting(own: Mapping[str, Tensor], content: Any, path: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint, which are those of a model.

    Args:
        own: the model's ``state_dict()``; values are not looked at.
        content: of the checkpoint.
        path: the file, for messages.

    Raises:
        ValueError: the weights are another architecture's, with the first keys that differ.
    """
    base = left_out(content)
    own = {key: value for key, value in own.items() if key not in base}
    state = fitting_weights(own, content, path)
    refuse_official(state, path)
    found = compare_weights(
        {key: value for key, value in own.items() if not key.startswith(TRAINING_STATE)},
        {key: value for key, value in state.items() if not key.startswith(TRAINING_STATE)},
    )
    if found:
        raise ValueError(
            f"{path} does not fit the config's model: weights {', '.join(found)}. "
            f'{_way_out(own, state)}'
        )
    return state


def fitting_weights(
    own: Mapping[str, Tensor], content: Any, source: str | Path
) -> dict[str, Tensor]:
    """The weights in a checkpoint, without wrappers and prefixes, see
    :func:`~m2h_mm.structures.weights.find_weights`, which may be another model's.

    Args:
        own: the model's ``state_dict()``.
        content: of the checkpoint.
        source: the file, for messages.

    Raises:
        ValueError: there are none.
    """
    weights = find_weights(content, own.__contains__, source, least=len(own) // 2 + 1)
    require_dense(weights.state, source)
    weights.report(source)
    return weights.state


def initial_weights(
    own: Mapping[str, Tensor], content: Any, source: str | Path, left_out: Sequence[str] = ()
) -> dict[str, Tensor]:
    """The weights that a new training begins with. A checkpoint need not have all: mmengine then
    warns, by name.

    Args:
        own: the model's ``state_dict()``.
        content: of the checkpoint.
        source: the file, for messages.
        left_out: how the names of those begin that are not taken.

    Raises:
        ValueError: the checkpoint has none, is of a method's authors, or has some of other shapes.
    """
    state = fitting_weights(own, content, source)
    refuse_official(state, source)
    state = {key: value for key, value in state.items() if not key.startswith(tuple(left_out))}
    if not any(key in own for key in state):
        raise ValueError(f'load_from: {source} fits no weight of the model. {_way_out(own, state)}')
    # The state of a weighting begins anew: its shape may be that of other tasks.
    state = {
        key: value
        for key, value in state.items()
        if not key.startswith(TRAINING_STATE) or _fits(own, key, value)
    }
    shapes = [
        f'{key} {tuple(value.shape)} for {tuple(own[key].shape)}'
        for key, value in state.items()
        if key in own and own[key].shape != value.shape
    ]
    if shapes:
        names = list(dict.fromkeys(text.split(' ')[0].rpartition('.')[0] + '.' for text in shapes))
        raise ValueError(
            f'load_from: {source} has {len(shapes)} weights of another shape: '
            f'{", ".join(shapes[:_SHOWN])}{", ..." if len(shapes) > _SHOWN else ""}. Use the '
            'config that it was trained with, or leave them as they are initialised: '
            f'default_hooks.checkpoint.left_out={names[:_SHOWN]}.'
        )
    return state


def compare_weights(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """What of ``state`` differs from a model's ``own``, in names or shapes; empty: nothing.

    A module's extra state may have the shape that a training has given it.
    """
    kinds = {
        'missing': [key for key in own if key not in state],
        'not in the model': [key for key in state if key not in own],
        'of another shape': [
            f'{key} {tuple(state[key].shape)} for {tuple(value.shape)}'
            for key, value in own.items()
            if key in state and state[key].shape != value.shape and not key.endswith(EXTRA_STATE)
        ],
    }
    return [f'{len(keys)} {what} (such as {keys[0]})' for what, keys in kinds.items() if keys]


def refuse_official(state: Mapping[str, Tensor], source: str | Path) -> None:
    """Refuse a checkpoint of a method's authors, naming the command that converts it.

    Raises:
        ValueError: it is one.
    """
    for begin, method, tool in OFFICIAL_LAYOUTS:
        if any(rest.startswith(begin) for key in state for rest in (key, _behind_wrapper(key))):
            raise ValueError(
                f'{source} has the layout of the official {method} code. Convert it first: m2h-mm '
                f'convert-checkpoint {tool} {source} converted.pth --config CONFIG'
            )


def _behind_wrapper(key: str) -> str:
    return re.sub(r'^((module|model|net|network)\.)+', '', key)


def _fits(own: Mapping[str, Tensor], key: str, value: Tensor) -> bool:
    """Whether it can be copied; the state of a weighting may be another one's."""
    return key in own and own[key].shape == value.shape


def _way_out(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """What to do with weights that do not fit: advice that depends on what they look like."""
    backbone = [key for key in own if key.startswith('backbone.')]
    if backbone and sum(key.removeprefix('backbone.') in state for key in backbone) > 1:
        return (
            'It holds the weights of a backbone alone: name it in '
            'model.backbone.init_cfg.checkpoint.'
        )
    if not any(key in state for key in own):
        return (
            f'No name is known; they begin with {_beginnings(state)}, those of the model with '
            f'{_beginnings(own)}. It is a checkpoint of another program, or of another model.'
        )
    return 'Use the config that the checkpoint was trained with, with the same --cfg-options.'


def _beginnings(state: Mapping[str, Tensor]) -> str:
    found = list(dict.fromkeys(f'{key.split(".")[0]}.' for key in state))
    return ', '.join(found[:4]) + (', ...' if len(found) > 4 else '')


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper, or ``model`` itself."""
    return model.module if is_model_wrapper(model) else model
