"""Loading a model from a checkpoint of a training, or of authors whose code is known."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from m2h_mm.engine.base_weights import left_out, named_source
from m2h_mm.engine.checkpoints import load_weights, require_fitting
from m2h_mm.engine.config import load_config, share_preprocessing, share_tasks
from m2h_mm.engine.model_description import ModelDescription, describe_model, read_description
from m2h_mm.models.building import build_without_weights, limited_parts
from m2h_mm.registry import MODELS, SCOPE
from m2h_mm.structures.checkpoint_file import naming_errors, read_checkpoint
from m2h_mm.structures.weights import require_weights

from .official import OfficialCheckpoint, recognise

PARTS, PARTS_BY_WEIGHT = 1000, 10
"""Modules that a model may have: so many, and so many more for each of its weights."""
BASE_OPTION = 'model.backbone.init_cfg.checkpoint'
SHARED = ('tasks', 'data_preprocessor')
"""What a config says at its top and its model is given."""


def load_model(
    checkpoint: str | Path,
    config: str | Path | Config | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[nn.Module, ModelDescription]:
    """Build a model and load its weights, without running what may be in the file.

    Args:
        checkpoint: of a training of this project, or the authors' own of M2H, M2H-MX or
            TaskPrompter, which is taken as it is; its input is then normalised as in the authors'
            code, whatever the config says.
        config: name or path of a config, or a config, that takes the place of what the checkpoint
            says of its model. Default: what it says; the authors' checkpoints are recognised by
            their weights.
        options: values that take the place of the config's, or of the checkpoint's, such as
            ``{'model.data_preprocessor.size': (480, 640)}`` or ``{'tasks.depth.max_depth': 20.0}``.

    Returns:
        The model in evaluation mode, on the CPU; its description.

    Raises:
        FileNotFoundError: no such config or checkpoint.
        ValueError: a checkpoint that is damaged, holds more than tensors and plain values, fits
            another model, does not say which model it is of, or names types that are not
            registered; ``options`` of something else than the model.
    """
    content = read_checkpoint(checkpoint)
    require_weights(content, checkpoint)
    official = recognise(content)  # None: one of this project
    options = _of_model(options or {})
    base = options.pop(BASE_OPTION, None)  # nothing of the description, which has the weights
    described = config is None and official is None
    with naming_errors(checkpoint, all_kinds=described):
        description = _describe(checkpoint, content, official, config, options)
    if config is None:  # else it has been done by the config's own
        init_default_scope(SCOPE)
    if described:
        _require_described(description, content, checkpoint)
    model = MODELS.build(description.model)
    if official is None:
        if left_out(content):
            model.backbone.init_cfg = _base_config(content, config, base)
        load_weights(model, checkpoint, content)
    else:
        with naming_errors(checkpoint):
            official.fill(model, checkpoint)
    return model.eval(), description


def _require_described(
    description: ModelDescription, content: Mapping[str, Any], checkpoint: str | Path
) -> None:
    """Refuse a file that says of its model what cannot be built, or is not that of its weights,
    before there is memory for one: it may say anything.
    """
    parts = sum(map(len, require_weights(content, checkpoint).values()))
    with naming_errors(checkpoint, all_kinds=True), limited_parts(PARTS_BY_WEIGHT * parts + PARTS):
        twin = build_without_weights(description.model)
        require_fitting(twin.state_dict(), content, checkpoint)


def _base_config(
    content: Any, config: str | Path | Config | None, file: str | Path | None
) -> Mapping[str, Any] | None:
    """Where the weights are that a checkpoint leaves out: in the file that is named, or where the
    config says, or the checkpoint if it names one of the backbone's own files.
    """
    if file is not None:
        return dict(type='Pretrained', checkpoint=str(file))
    if config is None:
        return named_source(content)
    cfg = config if isinstance(config, Config) else load_config(config)
    return cfg.model.backbone.get('init_cfg')


def _of_model(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as keys of ``model``: what a config says of it at its top has been given to it."""
    changed = {
        f'model.{key}' if key.split('.')[0] in SHARED else key: value
        for key, value in options.items()
    }
    unknown = [key for key in changed if key.split('.')[0] != 'model']
    if unknown:
        raise ValueError(
            f'options: expected keys below model, {" or ".join(SHARED)}, which a model is built '
            f'from, got {unknown}.'
        )
    return changed


def _describe(
    checkpoint: str | Path,
    content: Mapping[str, Any],
    official: OfficialCheckpoint | None,
    config: str | Path | Config | None,
    options: Mapping[str, Any],
) -> ModelDescription:
    """What the config says of the model; without one, what the checkpoint does."""
    if config is None and official is None:
        return _change(_read(content, checkpoint), options)
    if config is None:
        cfg = official.code.config(official.state)
    elif isinstance(config, Config):
        cfg = share_preprocessing(share_tasks(copy.deepcopy(config)))
    else:
        cfg = load_config(config)
    cfg.merge_from_dict(dict(options))
    if official is not None:
        preprocessor = cfg.model.get('data_preprocessor') or dict(type='MultiTaskDataPreprocessor')
        cfg.model['data_preprocessor'] = {**preprocessor, **official.code.normalisation}
    return describe_model(cfg)


def _read(content: Mapping[str, Any], checkpoint: str | Path) -> ModelDescription:
    description = read_description(content, checkpoint)
    if description is None:
        raise ValueError(
            f'{checkpoint} does not say which model it is of: it was written by an earlier '
            'version of m2h_mm or by another program, and does not have the layout of the '
            'official code of M2H, M2H-MX or TaskPrompter. Pass the config that it was trained '
            'with.'
        )
    return description


def _change(description: ModelDescription, options: Mapping[str, Any]) -> ModelDescription:
    if not options:
        return description
    cfg = Config(dict(model=description.model, custom_imports=dict(imports=[])))
    cfg.merge_from_dict(dict(options))
    changed = describe_model(cfg)
    return ModelDescription(
        changed.model, description.classes, description.custom_imports, description.version
    )


def compile_network(model: nn.Module, device: torch.device) -> None:
    """Have ``run_network`` compiled for each shape that it meets, on a GPU with CUDA graphs."""
    model.run_network = torch.compile(
        model.run_network,
        dynamic=False,
        mode='reduce-overhead' if device.type == 'cuda' else None,
    )
