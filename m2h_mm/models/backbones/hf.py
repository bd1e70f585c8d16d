"""Vision networks of Hugging Face's transformers as a backbone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

from .hf_architecture import (
    PLAIN,
    PYRAMIDS,
    Architecture,
    find_architecture,
    import_transformers,
    make_config,
    without_pooler,
)
from .hf_checkpoint import load_weights
from .wrapped_backbone import WrappedBackbone, choose_levels, from_tokens

# What the final norm of a plain transformer is called.
FINAL_NORMS = ('layernorm', 'norm', 'post_layernorm')
# The argument by which networks with stored positions take images of other sizes.
INTERPOLATE = 'interpolate_pos_encoding'


@MODELS.register_module()
class HFBackbone(WrappedBackbone):
    """A vision network of Hugging Face's ``transformers``, by name.

    Plain transformers (``beit``, ``clip_vision_model``, ``data2vec-vision``, ``deit``, ``dinov2``,
    ``dinov2_with_registers``, ``dinov3_vit``, ``ijepa``, ``pixio``, ``siglip_vision_model``,
    ``vit``, ``vit_msn``) yield the tokens of their blocks; put a ``TokenReassembly`` behind them.
    Networks with stages (``bit``, ``convnext``, ``convnextv2``, ``dinov3_convnext``,
    ``hgnet_v2``, ``pvt_v2``, ``resnet``, ``swin``, ``swinv2`` by transformers' AutoBackbone, and
    ``poolformer``, ``regnet``, ``segformer``) yield a pyramid; put a ``Lateral`` behind them.

    Nothing is downloaded unless ``init_cfg`` asks for a model on the hub. A checkpoint of a
    training describes the network in full and needs neither hub nor folder.

    Args:
        name: a type as above, such as ``'swin'``, with transformers' defaults (of Swin: tiny); a
            folder with a ``config.json``; or ``'user/model'`` on the hub, whose ``config.json`` is
            on this machine already or is named by ``init_cfg`` as well.
        options (dict, optional): fields of the network's config in transformers, such as
            ``dict(depths=(2, 2, 18, 2))``, that take the place of the found ones.
        out_indices (Sequence[int], optional): blocks, or stages, whose outputs are returned,
            ascending from 0. Blocks behind the last one are not built. Default: of blocks four, a
            quarter of the depth apart; of stages the last four.
        final_norm (bool): of plain transformers: apply the final LayerNorm to every output, if the
            network has one. Default False.
        frozen_stages (int): 0 freezes the embedding or stem, n also the first n blocks or stages,
            see :class:`StagedBackbone`; the whole is frozen by ``model.freeze_backbone``.
            Default -1: nothing.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=...)`` with a folder that
            transformers' ``save_pretrained`` has written, a model on the hub (``'user/model'``,
            downloaded once), or a file of weights (``.safetensors``, ``.bin``, ``.pth``). None:
            from scratch. Read by ``init_weights``.

    Input: images ``(N, 3, H, W)``, normalised as the weights want it (a difference from
    ``data_preprocessor`` is logged as a warning), H and W multiples of ``size_divisor``.

    Output: :class:`Features`: ``maps``, one ``(N, C_i, H / s_i, W / s_i)`` per out index; of plain
    transformers also ``cls_tokens`` and ``register_tokens`` where the network has them.

    Raises:
        ImportError: transformers is not installed.
        ValueError: an argument out of range; an image of another size; a checkpoint of another
            network. FileNotFoundError, ConnectionError: a description or weights cannot be had.
    """

    CHECKPOINTS = 'folder | "user/model" on the hub | file'

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
        architecture = _architecture(name, options, init_cfg)
        self.name = name
        self.kind = architecture.kind
        self.plain = self.kind in PLAIN
        if final_norm and not self.plain:
            raise ValueError(
                f'model.backbone.final_norm=True: {self.kind!r} is no plain transformer. Remove it.'
            )
        self.final_norm = final_norm
        config = make_config(architecture)
        if self.plain:
            self.out_indices = choose_levels(out_indices, config.num_hidden_layers, True)
            config.num_hidden_layers = self.out_indices[-1] + 1
            patch = config.patch_size
            self.patch_size = patch if isinstance(patch, int) else patch[0]
        else:
            count, self.first = _stages(config, self.kind)
            self.out_indices = choose_levels(out_indices, count, False)
        if self.kind in PYRAMIDS:
            config.out_indices = [index + self.first for index in self.out_indices]
        self.interpolates = False
        self.wrap(lambda: self._build(config), _native(config))

    def _build(self, config: Any) -> nn.Module:
        model = build_network(config, self.kind)
        self.interpolates = INTERPOLATE in inspect.signature(model.forward).parameters
        return model

    @staticmethod
    def stored_config(cfg: Mapping[str, Any]) -> dict[str, Any]:
        """``cfg`` with the network described in full: what a checkpoint says of it."""
        kind, fields = _architecture(cfg['name'], cfg.get('options'), cfg.get('init_cfg'))
        return {**cfg, 'name': kind, 'options': fields}

    def read(self, model: nn.Module, image: Tensor) -> Features:
        options = {INTERPOLATE: True} if self.interpolates else {}
        if self.kind in PYRAMIDS:
            return Features(maps=tuple(model(image, **options).feature_maps))
        states = model(image, output_hidden_states=True, **options).hidden_states
        if not self.plain:
            return Features(maps=tuple(states[index + self.first] for index in self.out_indices))
        tokens = [states[index + 1] for index in self.out_indices]  # the first are the embedding's
        norm = next((getattr(model, name) for name in FINAL_NORMS if hasattr(model, name)), None)
        if self.final_norm and norm is not None:
            tokens = [norm(level) for level in tokens]
        height, width = image.shape[-2:]
        return from_tokens(tokens, (height // self.patch_size, width // self.patch_size))

    def init_weights(self) -> None:
        """Load ``init_cfg.checkpoint``; without one the weights stay as transformers drew them."""
        if self.init_cfg:
            self.normalisation = load_weights(self, str(self.init_cfg['checkpoint']))
        else:
            self.warn_of_random_frozen_stages()
        self.is_init = True


def build_network(config: Any, kind: str) -> nn.Module:
    """The network of transformers for a config, without heads.

    Args:
        config: of transformers.
        kind: its type.

    Raises:
        ImportError: transformers cannot import its code, with what to do.
    """
    transformers = import_transformers()
    try:
        if kind in PYRAMIDS:
            return transformers.AutoBackbone.from_config(config, dtype=torch.float32)
        options = without_pooler(transformers.MODEL_MAPPING[type(config)])
        return transformers.AutoModel.from_config(config, dtype=torch.float32, **options)
    except ImportError as error:
        raise ImportError(
            f'HFBackbone: transformers cannot import {kind!r} ({str(error).splitlines()[0]}). A '
            'torchvision for another torch is the usual cause: if python -c "import torchvision" '
            'fails, run pip uninstall torchvision, which is not needed here.'
        ) from error


def _architecture(
    name: str, options: Mapping[str, Any] | None, init_cfg: Mapping[str, Any] | None
) -> Architecture:
    fetch = bool(init_cfg) and init_cfg.get('checkpoint') == name
    return find_architecture(name, options or {}, fetch)


def _stages(config: Any, kind: str) -> tuple[int, int]:
    """How many stages there are, and the number of outputs in front of them, those of a stem."""
    names = getattr(config, 'stage_names', None)
    if kind in PYRAMIDS and names:
        stem = names[0] == 'stem'
        return len(names) - stem, int(stem)
    return len(config.depths), int(kind == 'regnet')


def _native(config: Any) -> tuple[int, int]:
    size = getattr(config, 'image_size', None) or 224
    return (size, size) if isinstance(size, int) else tuple(size)
