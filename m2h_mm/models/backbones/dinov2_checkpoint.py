"""Reading DINOv2 weights: where the official files are, and what a file must hold to fit a
backbone.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from math import isqrt
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from m2h_mm.structures.checkpoint_file import read_checkpoint
from m2h_mm.structures.weights import find_weights, require_dense

CONFIG_KEY = 'model.backbone.init_cfg.checkpoint'
DOWNLOAD_TIMEOUT_S = 15.0
ANCHORS = {'cls_token': 3, 'pos_embed': 3, 'patch_embed.proj.weight': 4}
"""What every vision transformer has, and the number of its dimensions."""
# (arch, num_registers) -> file. Published by the authors of DINOv2 under Apache-2.0.
PRETRAINED_URLS = {
    (
        arch,
        registers,
    ): f'https://dl.fbaipublicfiles.com/dinov2/dinov2_{name}/dinov2_{name}{suffix}_pretrain.pth'
    for arch, name in {
        'small': 'vits14',
        'base': 'vitb14',
        'large': 'vitl14',
        'giant': 'vitg14',
    }.items()
    for registers, suffix in {0: '', 4: '_reg4'}.items()
}


def resolve_checkpoint(checkpoint: str, arch: str | Mapping[str, Any], num_registers: int) -> str:
    """Path or URL for a configured checkpoint; ``'official'`` becomes the URL for ``arch`` and
    ``num_registers``.

    Raises:
        ValueError: ``'official'`` where the authors published no weights.
    """
    if checkpoint != 'official':
        return str(checkpoint)
    name = arch if isinstance(arch, str) else 'custom'
    if (name, num_registers) not in PRETRAINED_URLS:
        raise ValueError(
            f"{CONFIG_KEY}='official': there are no official weights for arch={name!r} with "
            f'num_registers={num_registers}. They exist for arch small, base, large and giant '
            'with 0 or 4 registers. Change model.backbone.arch, name a file of your own, or set '
            'model.backbone.init_cfg=None to train from scratch.'
        )
    return PRETRAINED_URLS[name, num_registers]


def read_backbone_checkpoint(checkpoint: str) -> dict[str, Tensor]:
    """State dict of a DINOv2 file at a path or URL, with the official keys of an unchunked model.

    Takes the official files, training checkpoints of DINOv2, of which the teacher is taken, and any
    checkpoint in which the backbone stands below other keys or behind prefixes (those of this
    package included). Files are unpickled with ``weights_only=True``.

    Raises:
        FileNotFoundError: there is no file at the path.
        ConnectionError: the URL could not be downloaded.
        ValueError: the file cannot be read, or is not a vision transformer.
    """
    content = _download(checkpoint) if '://' in checkpoint else _read_file(checkpoint)
    return _official_keys(content, checkpoint)


def load_backbone_weights(
    model: nn.Module, state: dict[str, Tensor], checkpoint: str, unused: tuple[str, ...]
) -> None:
    """Copy ``state`` into ``model``, or say what does not fit.

    Args:
        model: the backbone.
        state: what :func:`read_backbone_checkpoint` returned.
        checkpoint: where it came from, for messages.
        unused: prefixes of parameters that no output depends on, which a file may lack.

    Raises:
        ValueError: another architecture, another native size, or missing parameters.
    """
    expected = model.state_dict()
    ours, theirs = _describe(expected), _describe(state)
    different = [name for name in ours if ours[name] != theirs[name]]
    if different:
        key = {
            'native size (px)': 'img_size',
            'registers': 'num_registers',
            'image channels': 'in_channels',
        }
        keys = sorted({key.get(name, 'arch') for name in different})
        raise ValueError(
            f'{CONFIG_KEY}: {checkpoint} holds another architecture.\n'
            f'  file:   {_join(theirs)}\n  config: {_join(ours)}\n'
            f'They differ in {", ".join(different)}: change '
            f'{", ".join(f"model.backbone.{key}" for key in keys)} or '
            'name another file.'
        )
    shapes = [
        f'{key} {tuple(state[key].shape)} (expected {tuple(tensor.shape)})'
        for key, tensor in expected.items()
        if key in state and state[key].shape != tensor.shape
    ]
    if shapes:
        raise ValueError(
            f'{CONFIG_KEY}: {checkpoint} has parameters of other shapes: {_shorten(shapes)}.'
        )
    missing, unexpected = model.load_state_dict(state, strict=False)
    needed = [key for key in missing if not key.startswith(unused)]
    if needed:
        raise ValueError(
            f'{CONFIG_KEY}: {checkpoint} lacks parameters that the backbone needs: '
            f'{_shorten(needed)}.'
        )
    name = type(model).__name__
    print_log(
        f'{name}: loaded {len(state) - len(unexpected)} tensors from {checkpoint}', logger='current'
    )
    for what, keys in (('missing in the file, without effect', missing), ('not used', unexpected)):
        if keys:
            print_log(f'{name}: {what}: {_shorten(keys)}', logger='current', level=logging.WARNING)


def _read_file(path: str) -> Any:
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(
            f'{CONFIG_KEY}={path!r}: no such file (looked for {file.absolute()}). Put the '
            f'weights there, or point to them with --cfg-options {CONFIG_KEY}=/path/to/file.pth. '
            "'official' downloads the weights that fit model.backbone.arch; an http(s) URL works "
            'as well.'
        )
    return _read(file)


def _read(file: Path, url: str | None = None) -> Any:
    try:
        return read_checkpoint(file)
    except ValueError as error:
        again = f' Delete it, and {url} is downloaded again.' if url else ''
        raise ValueError(f'{CONFIG_KEY}: {error}{again}') from error


def _download(url: str) -> Any:
    file = _location(url)
    try:
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            with _socket_timeout(DOWNLOAD_TIMEOUT_S):
                torch.hub.download_url_to_file(url, str(file))
    except (OSError, HTTPException) as error:
        raise ConnectionError(
            f'{CONFIG_KEY}: could not download {url} ({_first_line(error)}). Without a '
            f'connection, fetch the file elsewhere and put it at {_location(url)}, or name its '
            f'place with --cfg-options {CONFIG_KEY}=/path/to/file.pth.'
        ) from error
    return _read(file, url)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torch.hub opens its connection without a timeout, so an unreachable host would block for
    minutes.
    """
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


def _location(checkpoint: str) -> Path:
    if '://' in checkpoint:
        return Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(checkpoint).path).name)
    return Path(checkpoint).expanduser().absolute()


def _official_keys(content: Any, checkpoint: str) -> dict[str, Tensor]:
    source = f'{CONFIG_KEY}: {checkpoint}'
    weights = find_weights(content, ANCHORS.__contains__, source, least=len(ANCHORS))
    state = weights.state
    dims = {name: state[name].ndim for name in ANCHORS if name in state}
    if dims != ANCHORS:
        hint = (
            " It has the layout of Hugging Face's transformers: take the authors' file, 'official'."
            if any('embeddings.cls_token' in name for name in state)
            else ''
        )
        raise ValueError(
            f'{source} is not a vision transformer: expected the keys cls_token, pos_embed, '
            'patch_embed.*, blocks.*, also below others such as "model" or behind prefixes such as '
            f'"backbone.", found {_shorten(list(state))}.{hint}'
        )
    registers = state.get('register_tokens')
    if state['pos_embed'].shape[1] < 2 or (registers is not None and registers.ndim != 3):
        raise ValueError(f'{source} has tokens of shapes that no vision transformer has.')
    require_dense(state, source)
    weights.report(checkpoint)
    # Models built with block_chunks name block 3 "blocks.<chunk>.3.".
    return {
        re.sub(r'^blocks\.\d+\.(\d+)\.', r'blocks.\1.', key): tensor
        for key, tensor in state.items()
    }


def _describe(state: Mapping[str, Tensor]) -> dict[str, int | str]:
    patch_weight = state['patch_embed.proj.weight']
    blocks = [
        int(found[1]) for found in map(re.compile(r'blocks\.(\d{1,9})\.').match, state) if found
    ]
    return {
        'embed_dims': state['cls_token'].shape[-1],
        'depth': max(blocks, default=-1) + 1,
        'ffn': 'swiglu' if 'blocks.0.mlp.w12.weight' in state else 'mlp',
        'registers': state['register_tokens'].shape[1] if 'register_tokens' in state else 0,
        'image channels': patch_weight.shape[1],
        'patch size (px)': patch_weight.shape[-1],
        'native size (px)': isqrt(state['pos_embed'].shape[1] - 1) * patch_weight.shape[-1],
    }


def _join(description: Mapping[str, int | str]) -> str:
    return ', '.join(f'{name} {value}' for name, value in description.items())


def _shorten(items: list[str], limit: int = 6) -> str:
    return ', '.join(items[:limit]) + (
        f' and {len(items) - limit} more' if len(items) > limit else ''
    )


def _first_line(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'.splitlines()[0]
