"""Weights for a network of timm: its own, or from the hub, a folder or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.logging import print_log

from m2h_mm.structures.checkpoint_file import read_checkpoint
from m2h_mm.structures.weights import find_weights

from .wrapped_backbone import Normalisation

if TYPE_CHECKING:
    from .timm import TimmBackbone

CONFIG_KEY = 'model.backbone.init_cfg.checkpoint'
OWN = 'timm'
FILES = ('model.safetensors', 'pytorch_model.bin')


def load_weights(backbone: TimmBackbone, checkpoint: str) -> Normalisation:
    """Load weights, converted by timm where a file is of an older layout or another size.

    Returns:
        What the images of ``name`` are normalised with, as timm says.

    Raises:
        FileNotFoundError, ConnectionError: they cannot be had.
        ValueError: they are of another network.
    """
    from .timm import create

    path = Path(checkpoint).expanduser()
    if path.is_dir():
        path = _in_folder(path)
    local = path.is_file()
    if local:
        state = read_checkpoint(path)
        wanted = backbone.model.state_dict()
        weights = find_weights(
            state, wanted.__contains__, f'{CONFIG_KEY}: {path}', least=len(wanted) // 2
        )
        weights.report(path)
        found = {name: value for name, value in weights.state.items() if name in wanted}
        if {name: value.shape for name, value in found.items()} == {
            name: value.shape for name, value in wanted.items()
        }:
            return _take(backbone, found, checkpoint, backbone.model.pretrained_cfg)
        source: dict[str, Any] = dict(state_dict=weights.state)
    elif checkpoint == OWN:
        source = {}
    elif checkpoint.count('/') == 1 and not checkpoint.startswith(('.', '~', '/')):
        source = dict(hf_hub_id=checkpoint, source='hf-hub')
    else:
        raise FileNotFoundError(
            f'{CONFIG_KEY}={checkpoint!r}: expected {OWN!r}, "user/model" on the hub, a file of '
            'weights or a folder with one; there is no such file.'
        )
    try:
        model = create(
            backbone.name, backbone.options, pretrained=True, pretrained_cfg_overlay=source
        )
    except (OSError, LookupError) as error:
        raise ConnectionError(
            f'{CONFIG_KEY}={checkpoint!r}: the weights of {backbone.name!r} cannot be had '
            f'({str(error).splitlines()[0]}).'
        ) from error
    except RuntimeError as error:
        raise ValueError(
            f'{CONFIG_KEY}={checkpoint!r} does not fit model.backbone ({backbone.name}): {error}'
        ) from error
    state = model.state_dict()
    taken = {name: state[name] for name in backbone.model.state_dict()}
    return _take(backbone, taken, checkpoint, model.pretrained_cfg)


def _take(
    backbone: TimmBackbone, state: dict[str, Any], checkpoint: str, described: dict[str, Any]
) -> Normalisation:
    backbone.model.load_state_dict(state)
    print_log(f'TimmBackbone: loaded {len(state)} tensors from {checkpoint}', 'current')
    mean, std = (tuple(255 * value for value in described[key]) for key in ('mean', 'std'))
    return Normalisation(mean, std)


def _in_folder(folder: Path) -> Path:
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f'{CONFIG_KEY}: the folder {folder} has neither {" nor ".join(FILES)}.')
