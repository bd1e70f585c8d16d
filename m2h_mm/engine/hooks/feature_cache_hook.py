"""The hook that keeps the features of a frozen backbone on disk."""

from __future__ import annotations

import json
from hashlib import blake2b

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from m2h_mm.engine.checkpoints import unwrap
from m2h_mm.engine.feature_cache import FeatureCache
from m2h_mm.registry import HOOKS

DTYPES = (None, 'float16', 'bfloat16')
# Of a backbone's config: what does not change its output once its weights are there.
WITHOUT_EFFECT = ('init_cfg', 'pretrained', 'frozen_stages', 'norm_eval')


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Keeps the features of a frozen backbone on disk, for ablations that see the same frames again
    and again.

    An image is looked up by its pixels as the backbone gets them. Without augmentation every frame
    is found from the second epoch on; with it, in the next run with the same seed, data and
    pipeline, whose draws are the same; frames of a validation always. Losses are those of a
    training without the hook: to the last bit where a batch is read as it was written, else to the
    rounding of batches of other sizes. Models that are used outside of a Runner know nothing of it;
    checkpoints have the same keys.

    Args:
        folder (str): of the files, made if needed; may be shared by runs, processes and backbones.
            There is a folder in it for each backbone; any of them may be deleted.
        dtype (str, optional): ``'float16'`` or ``'bfloat16'`` take half the space and round the
            features, in the run that writes them too. Default: as the backbone computes them.
        max_gib (float): GiB that ``folder`` may hold; then nothing more is written. Default: 50.

    A file has 4 bytes per value, or 2: for DINOv2 ``16 * C`` per patch, 8 MB for ViT-S and an image
    of 448x576.

    Raises:
        ValueError: another dtype; a backbone that is trained or not in eval mode; one whose weights
            changed meanwhile.
    """

    # Behind hooks that exchange layers of the backbone.
    priority = 'LOW'

    def __init__(self, folder: str, dtype: str | None = None, max_gib: float = 50.0) -> None:
        if dtype not in DTYPES:
            raise ValueError(f'FeatureCacheHook.dtype: expected one of {DTYPES}, got {dtype!r}.')
        self.folder, self.max_bytes = folder, max_gib * 2**30
        self.dtype = dtype and getattr(torch, dtype)
        self._cache: FeatureCache | None = None

    def before_train(self, runner: Runner) -> None:
        self._attach(runner)

    def before_val(self, runner: Runner) -> None:
        self._attach(runner)

    def before_test(self, runner: Runner) -> None:
        self._attach(runner)

    def after_train(self, runner: Runner) -> None:
        self._require_unchanged()

    def after_run(self, runner: Runner) -> None:
        cache = self._cache
        runner.logger.info(
            f'FeatureCacheHook: {cache.found} of {cache.images} images were found in '
            f'{self.folder}, which holds {cache.bytes / 2**30:.2f} GiB.'
        )
        del cache.backbone.forward
        self._cache = None

    def _attach(self, runner: Runner) -> None:
        if self._cache is not None:
            self._require_unchanged()
            return
        model = unwrap(runner.model)
        if getattr(model, 'adapters', None) is not None:
            raise ValueError(
                'FeatureCacheHook: model.adapters are trained, so that the features of '
                'model.backbone change. Take the hook out, or set model.adapters=None and '
                'model.freeze_backbone=True.'
            )
        backbone, training = model.backbone, model.training
        model.train()  # as in a training: a backbone that is not frozen is in train mode then
        drifting = any(module.training for module in backbone.modules())
        model.train(training)
        if drifting or any(parameter.requires_grad for parameter in backbone.parameters()):
            raise ValueError(
                'FeatureCacheHook: model.backbone is trained, or its norms and dropouts are not '
                'in eval mode, so that its features change. Set model.freeze_backbone=True, or '
                'take the hook out.'
            )
        description = {
            key: value
            for key, value in runner.cfg.model.backbone.items()
            if key not in WITHOUT_EFFECT
        }
        # What a backbone computes with the same weights also depends on the classes of its layers,
        # which rewrites for speed exchange, and on the tasks, if it knows them.
        layers = [type(module).__qualname__ for module in backbone.modules()]
        description['layers'] = blake2b(' '.join(layers).encode(), digest_size=8).hexdigest()
        if hasattr(backbone, 'task_map_channels'):
            description['tasks'] = list(model.tasks)
        self._cache = FeatureCache(
            backbone,
            json.dumps(description, sort_keys=True, default=str),
            self.folder,
            self.dtype,
            self.max_bytes,
        )
        backbone.forward = self._cache.forward

    def _require_unchanged(self) -> None:
        cache = self._cache
        if cache.current_fingerprint() != cache.fingerprint:
            raise ValueError(
                'FeatureCacheHook: the weights of model.backbone changed during the run, so that '
                'features were read that are not its own. Delete '
                f'{cache.folder / cache.fingerprint}, and keep the backbone frozen.'
            )
