"""What the backbones here share in reading weights: files and URLs, and what must fit."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from m2h_mm.structures.checkpoint_file import read_checkpoint

CONFIG_KEY = 'model.backbone.init_cfg.checkpoint'
DOWNLOAD_TIMEOUT_S = 15.0
# Where in the config stands what a file's architecture may differ in, if not in ``arch``.
CONFIG_KEYS = {
    'native size (px)': 'img_size',
    'registers': 'num_registers',
    'image channels': 'in_channels',
}


def read_backbone_file(checkpoint: str, official: str = '') -> Any:
    """What a file at a path or URL holds. It is unpickled with ``weights_only=True``.

    Args:
        checkpoint: a path, or a URL, which is downloaded once to torch.hub's cache.
        official: a sentence on where the official file is, and a space, for messages.

    Raises:
        FileNotFoundError: there is no file at the path.
        ConnectionError: the URL could not be downloaded.
        ValueError: the file cannot be read.
    """
    return _download(checkpoint) if '://' in checkpoint else _read_file(checkpoint, official)


def hub_file(name: str) -> Path:
    """The place of a file in torch.hub's cache."""
    return Path(torch.hub.get_dir(), 'checkpoints', name)


def load_backbone_weights(
    model: nn.Module,
    state: dict[str, Tensor],
    checkpoint: str,
    unused: tuple[str, ...],
    describe: Callable[[Mapping[str, Tensor]], dict[str, int | str]],
    own: Callable[[str], object] = lambda name: False,
) -> None:
    """Copy ``state`` into ``model``, or say what does not fit.

    Args:
        model: the backbone.
        state: the parameters in the file, under the names that they have in ``model``.
        checkpoint: where it came from, for messages.
        unused: prefixes of parameters that no output depends on, which a file may lack.
        describe: what parameters say of their architecture, by names for a message.
        own: whether a parameter is one that no such file has, as it starts from scratch.

    Raises:
        ValueError: another architecture, another native size, or missing parameters.
    """
    expected = model.state_dict()
    ours, theirs = describe(expected), describe(state)
    different = [name for name in ours if ours[name] != theirs[name]]
    if different:
        keys = sorted({CONFIG_KEYS.get(name, 'arch') for name in different})
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
            f'{CONFIG_KEY}: {checkpoint} has parameters of other shapes: {shorten(shapes)}.'
        )
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [key for key in missing if not own(key)]
    needed = [key for key in missing if not key.startswith(unused)]
    if needed:
        raise ValueError(
            f'{CONFIG_KEY}: {checkpoint} lacks parameters that the backbone needs: '
            f'{shorten(needed)}.'
        )
    name = type(model).__name__
    print_log(
        f'{name}: loaded {len(state) - len(unexpected)} tensors from {checkpoint}', logger='current'
    )
    for what, keys in (('missing in the file, without effect', missing), ('not used', unexpected)):
        if keys:
            print_log(f'{name}: {what}: {shorten(keys)}', logger='current', level=logging.WARNING)


def _read_file(path: str, official: str) -> Any:
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(
            f'{CONFIG_KEY}={path!r}: no such file (looked for {file.absolute()}). Put the '
            f'weights there, or point to them with --cfg-options {CONFIG_KEY}=/path/to/file.pth. '
            f'{official}An http(s) URL works as well.'
        )
    return _read(file)


def _read(file: Path, url: str | None = None) -> Any:
    try:
        return read_checkpoint(file)
    except ValueError as error:
        again = f' Delete it, and {url} is downloaded again.' if url else ''
        raise ValueError(f'{CONFIG_KEY}: {error}{again}') from error


def _download(url: str) -> Any:
    file = hub_file(Path(urlparse(url).path).name)
    try:
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            with _socket_timeout(DOWNLOAD_TIMEOUT_S):
                torch.hub.download_url_to_file(url, str(file))
    except (OSError, HTTPException) as error:
        raise ConnectionError(
            f'{CONFIG_KEY}: could not download {url} ({_first_line(error)}). Without a '
            f'connection, fetch the file elsewhere and put it at {file}, or name its '
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


def _join(description: Mapping[str, int | str]) -> str:
    return ', '.join(f'{name} {value}' for name, value in description.items())


def shorten(items: list[str], limit: int = 6) -> str:
    return ', '.join(items[:limit]) + (
        f' and {len(items) - limit} more' if len(items) > limit else ''
    )


def _first_line(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'.splitlines()[0]
