"""Loading a checkpoint's weights into a model of this project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from m2h_mm.structures.checkpoint_file import TRAINING_STATE, read_checkpoint

# How the keys of the authors' own checkpoints begin, the method, and the tool that converts them.
OFFICIAL_LAYOUTS = (
    ('mlt_head.', 'M2H', 'm2h'),
    ('multi_task_decoder.', 'InvPT', 'invpt'),
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
            architecture's, with the first keys that differ.
    """
    checkpoint = read_checkpoint(path) if checkpoint is None else checkpoint
    state: dict[str, Tensor] = checkpoint.get('state_dict', checkpoint)
    for prefix, method, tool in OFFICIAL_LAYOUTS:
        if any(key.removeprefix('module.').startswith(prefix) for key in state):
            raise ValueError(
                f'{path} has the layout of the official {method} code. Convert it first: m2h-mm '
                f'convert-checkpoint {tool} {path} converted.pth --config CONFIG'
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
            f"{path} does not fit the config's model: weights {', '.join(found)}. Use the config "
            'that the checkpoint was trained with, with the same --cfg-options.'
        )
    target.load_state_dict(state, strict=False)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper, or ``model`` itself."""
    return model.module if is_model_wrapper(model) else model
