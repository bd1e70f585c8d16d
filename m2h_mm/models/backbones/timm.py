"""Networks of timm as a backbone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from m2h_mm.models.building import NOT_ON_META
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features
from m2h_mm.system.spelling import did_you_mean

from .timm_checkpoint import load_weights
from .timm_library import import_timm
from .wrapped_backbone import WrappedBackbone, choose_levels

# Said by this backbone, or by init_cfg.
RESERVED = (
    'cache_dir',
    'checkpoint_path',
    'features_only',
    'num_classes',
    'out_indices',
    'pretrained',
    'pretrained_cfg',
    'pretrained_cfg_overlay',
)
# By which networks take images of other sizes than their weights'.
FLEXIBLE = dict(dynamic_img_size=True, strict_img_size=False)
# The argument by which a plain transformer yields class and register tokens too.
PREFIX = 'return_prefix_tokens'


@MODELS.register_module()
class TimmBackbone(WrappedBackbone):
    """A network of ``timm``, by name: any that has ``forward_intermediates``, which nearly all do.

    Plain transformers (ViT, DINOv2, DINOv3, EVA, BEiT, ...) yield the tokens of their blocks; put a
    ``TokenReassembly`` behind them. Networks with stages (ConvNeXt, Swin, ResNet, EfficientNet,
    ...) yield a pyramid; put a ``Lateral`` behind them.

    Nothing is downloaded unless ``init_cfg`` asks for it, and torchvision is not needed.

    Args:
        name: as in ``timm.list_models()``, such as ``'convnext_tiny'`` or, with the weights that it
            is meant for, ``'convnext_tiny.fb_in22k'``.
        options (dict, optional): arguments of the network in timm, such as
            ``dict(drop_path_rate=0.1)``.
        out_indices (Sequence[int], optional): blocks of a plain transformer, or levels, whose
            outputs are returned, ascending from 0. What lies behind the last one is not built.
            Default: of blocks four, a quarter of the depth apart; the last four levels.
        final_norm (bool): of plain transformers: apply the final norm to every output. Default
            False.
        frozen_stages (int): 0 freezes the embedding or stem, n also the first n blocks or stages,
            see :class:`StagedBackbone`; the whole is frozen by ``model.freeze_backbone``.
            Default -1: nothing.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=...)`` with ``'timm'``, the
            weights that belong to ``name`` (downloaded once), ``'user/model'`` on the hub, a file
            of timm (``.safetensors``, ``.bin``, ``.pth``) or a folder with one. None: from scratch.
            Read by ``init_weights``.

    Input: images ``(N, 3, H, W)``, normalised as the weights want it (a difference from
    ``data_preprocessor`` is logged as a warning), H and W multiples of ``size_divisor``.

    Output: :class:`Features`: ``maps``, one ``(N, C_i, H / s_i, W / s_i)`` per out index; of plain
    transformers also ``cls_tokens`` and ``register_tokens`` where the network has them.

    Raises:
        ImportError: timm is not installed.
        ValueError: an argument out of range; an image of another size; a checkpoint of another
            network. FileNotFoundError, ConnectionError: weights cannot be had.
    """

    CHECKPOINTS = '"timm" | "user/model" on the hub | folder | file'

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        out_indices: Sequence[int] | None = None,
        final_norm: bool = False,
        frozen_stages: int = -1,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(frozen_stages, init_cfg)
        self.name = name
        self.final_norm = final_norm
        whole = _look_at(name, options or {})
        accepted = inspect.signature(type(whole).__init__).parameters
        flexible = {key: value for key, value in FLEXIBLE.items() if key in accepted}
        self.options = {**flexible, **(options or {})}
        levels = [level['reduction'] for level in whole.feature_info]
        self.plain = len(set(levels)) == 1 and hasattr(whole, 'blocks')
        if final_norm and not self.plain:
            raise ValueError(
                f'model.backbone.final_norm=True: {name!r} is no plain transformer. Remove it.'
            )
        self.out_indices = choose_levels(out_indices, len(levels), self.plain)
        prefix = PREFIX in inspect.signature(whole.forward_intermediates).parameters
        self.prefix = whole.num_prefix_tokens if prefix else 0
        self.class_token = getattr(whole, 'cls_token', None) is not None
        size = self.options.get('img_size') or whole.pretrained_cfg['input_size'][1:]
        self.wrap(self._build, (size, size) if isinstance(size, int) else tuple(size))

    def _build(self) -> nn.Module:
        model = create(self.name, self.options)
        model.prune_intermediate_layers(
            list(self.out_indices), prune_norm=not self.final_norm, prune_head=True
        )
        return model

    def read(self, model: nn.Module, image: Tensor) -> Features:
        options = dict(norm=self.final_norm) if self.plain else {}
        options |= {PREFIX: True} if self.prefix else {}
        found = model.forward_intermediates(
            image, indices=list(self.out_indices), intermediates_only=True, **options
        )
        if not self.prefix:
            return Features(maps=tuple(found))
        maps, prefixes = zip(*found, strict=True)
        first = int(self.class_token)
        return Features(
            maps=maps,
            cls_tokens=tuple(prefix[:, 0] for prefix in prefixes) if first else None,
            register_tokens=(
                tuple(prefix[:, first:] for prefix in prefixes) if self.prefix > first else None
            ),
        )

    def init_weights(self) -> None:
        """Load ``init_cfg.checkpoint``; without one the weights stay as timm drew them."""
        if self.init_cfg:
            self.normalisation = load_weights(self, str(self.init_cfg['checkpoint']))
        else:
            self.warn_of_random_frozen_stages()
        self.is_init = True


def create(name: str, options: Mapping[str, Any], **loading: Any) -> nn.Module:
    """A whole network of timm.

    Args:
        name, options: as of :class:`TimmBackbone`.
        loading: arguments of ``timm.create_model`` that say which weights it gets. Default: random
            ones.
    """
    return import_timm().create_model(name, **options, **loading)


def _look_at(name: str, options: Mapping[str, Any]) -> nn.Module:
    """The whole network, without values.

    Raises:
        ValueError: no such network; one that yields no features; reserved options.
    """
    timm = import_timm()
    if not timm.is_model(name):
        raise ValueError(
            f'model.backbone.name={name!r}: timm has no such network.'
            f'{did_you_mean(name, timm.list_models())} See timm.list_models().'
        )
    reserved = [key for key in options if key in RESERVED]
    if reserved:
        raise ValueError(
            f'model.backbone.options: {reserved} are said by model.backbone itself; weights by '
            'model.backbone.init_cfg.'
        )
    try:
        whole = _without_values(name, options)
    except Exception as error:  # whatever a network raises at an argument that it cannot use
        raise ValueError(
            f'model.backbone.options: {name!r} of timm refuses them: {error}'
        ) from error
    if not hasattr(whole, 'forward_intermediates'):
        raise ValueError(
            f'model.backbone.name={name!r}: {type(whole).__name__} of timm has no '
            'forward_intermediates, by which its features are read. Choose another network.'
        )
    return whole


def _without_values(name: str, options: Mapping[str, Any]) -> nn.Module:
    try:
        with torch.device('meta'):
            return create(name, options)
    except NOT_ON_META:
        return create(name, options)
