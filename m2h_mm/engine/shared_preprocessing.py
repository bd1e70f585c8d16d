"""The size of a data set's images, given to the model of a config."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config


def share_preprocessing(cfg: Config) -> Config:
    """Give the top-level ``data_preprocessor`` of a config to its model, in place.

    Which image size a model knows is decided by the frames that it is trained on. So the config of
    a data set says it, ``data_preprocessor = dict(size=(480, 640))``, and it becomes part of
    ``model.data_preprocessor``. Calling this twice changes nothing.

    Args:
        cfg: as it was read.

    Returns:
        ``cfg`` itself.

    Raises:
        ValueError: the model states another value than the data set.
    """
    shared = cfg.get('data_preprocessor')
    model = cfg.get('model')
    if not (shared and model):
        return cfg
    own = model.get('data_preprocessor') or dict(type='MultiTaskDataPreprocessor')
    for key, value in shared.items():
        # Also where data of another size was put into a config that had been shared out before: a
        # model that goes on with the old size would be wrong without a word.
        if key in own and _as_lists(own[key]) != _as_lists(value):
            raise ValueError(
                f'model.data_preprocessor.{key}: expected what the config of the data says, '
                f'data_preprocessor.{key} = {value!r}, got {own[key]!r}. Change '
                f'data_preprocessor.{key} and leave that of the model out.'
            )
    model['data_preprocessor'] = {**shared, **own}
    return cfg


def _as_lists(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
