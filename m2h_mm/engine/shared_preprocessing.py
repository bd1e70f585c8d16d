"""The size of a data set's images, given to the model of a config."""

from __future__ import annotations

from mmengine.config import Config


def share_preprocessing(cfg: Config) -> Config:
    """Give the top-level ``data_preprocessor`` of a config to its model, in place.

    Which image size a model knows is decided by the frames that it is trained on. So the config of
    a data set says it, ``data_preprocessor = dict(size=(480, 640))``, and it becomes part of
    ``model.data_preprocessor``, whose own values come first. Calling this twice changes nothing.

    Args:
        cfg: as it was read.

    Returns:
        ``cfg`` itself.
    """
    shared = cfg.get('data_preprocessor')
    model = cfg.get('model')
    if shared and model:
        own = model.get('data_preprocessor') or dict(type='MultiTaskDataPreprocessor')
        model['data_preprocessor'] = {**shared, **own}
    return cfg
