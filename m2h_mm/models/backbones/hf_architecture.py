"""Which network of Hugging Face's transformers a name stands for, as plain data."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from m2h_mm.system.spelling import did_you_mean

from .wrapped_backbone import Normalisation

INSTALL = 'pip install transformers'  # which brings no torch
# Plain transformers: every block yields tokens of one resolution.
PLAIN = (
    'beit',
    'clip_vision_model',
    'data2vec-vision',
    'deit',
    'dinov2',
    'dinov2_with_registers',
    'dinov3_vit',
    'ijepa',
    'pixio',
    'siglip_vision_model',
    'vit',
    'vit_msn',
)
# Those that AutoBackbone has, and those that yield a map per stage without it.
PYRAMIDS = (
    'bit',
    'convnext',
    'convnextv2',
    'dinov3_convnext',
    'hgnet_v2',
    'pvt_v2',
    'resnet',
    'swin',
    'swinv2',
)
STAGED = ('poolformer', 'regnet', 'segformer')
TYPES = (*PLAIN, *PYRAMIDS, *STAGED)
# Said by this backbone itself.
RESERVED = ('out_features', 'out_indices', 'stage_names', 'reshape_hidden_states')
CONFIG, PROCESSOR = 'config.json', 'preprocessor_config.json'


class Architecture(NamedTuple):
    """A network, described.

    Attributes:
        kind: its type in transformers, such as ``swin``.
        fields: of its config, by name; the others have the defaults of the type.
    """

    kind: str
    fields: dict[str, Any]


def import_transformers() -> Any:
    """The library.

    Raises:
        ImportError: it is not installed, with what to do.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            f'HFBackbone needs the package transformers ({error}). Run: {INSTALL}'
        ) from error
    return transformers


def find_architecture(name: str, options: Mapping[str, Any], fetch: bool) -> Architecture:
    """What ``model.backbone.name`` and ``model.backbone.options`` stand for.

    Args:
        name: a type, a folder with a ``config.json``, or a model on the hub.
        options: fields of the config that take the place of those found.
        fetch: download a ``config.json`` that is missing here from the hub.

    Raises:
        ValueError: a type that is not known here; an option that the type does not have.
        FileNotFoundError, ConnectionError: there is no such folder, or no description of it here.
    """
    import_transformers()
    if name in TYPES:
        kind, found = name, {}
    else:
        found = _vision_part(read_json(name, CONFIG, fetch))
        kind = found.get('model_type')
    if kind not in TYPES:
        raise ValueError(
            f'model.backbone.name={name!r} is of the type {kind!r}. HFBackbone knows '
            f'{", ".join(TYPES)}.{did_you_mean(kind, TYPES)}'
        )
    known = known_fields(kind)
    unknown = [key for key in options if key not in known]
    if unknown:
        raise ValueError(
            f'model.backbone.options: {kind!r} has no {unknown[0]!r}; it has {sorted(known)}.'
            f'{did_you_mean(unknown[0], known)}'
        )
    fields = {key: found[key] for key in known if key in found}
    return Architecture(kind, _listed({**fields, **options}))


def make_config(architecture: Architecture) -> Any:
    """The config object of transformers.

    Raises:
        ValueError: values that the type does not take.
    """
    cls = import_transformers().CONFIG_MAPPING[architecture.kind]
    try:
        # Its own defaults hold tuples where its networks want lists.
        return cls(**{**_listed(_only(architecture.kind, cls().to_dict())), **architecture.fields})
    except Exception as error:  # transformers has classes of its own for this
        raise ValueError(
            f'model.backbone.options: {architecture.kind!r} refuses them: {error}'
        ) from error


def read_json(name: str, file: str, fetch: bool) -> dict[str, Any]:
    """A file of JSON that lies beside weights.

    Args:
        name: a folder, or a model on the hub.
        file: its name.
        fetch: see :func:`find_architecture`.

    Raises:
        FileNotFoundError: it is not there. ConnectionError: the hub cannot be reached.
        ValueError: it is damaged.
    """
    path = _path(name, file, fetch)
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, OSError) as error:
        raise ValueError(f'model.backbone: {path} cannot be read ({error}).') from error
    if not isinstance(content, dict):
        raise ValueError(f'model.backbone: {path} holds no description of a model.')
    return content


def read_normalisation(name: str, fetch: bool) -> Normalisation | None:
    """What the images of a model are normalised with; None where nobody says."""
    try:
        said = read_json(name, PROCESSOR, fetch)
    except (FileNotFoundError, ConnectionError):
        return None
    mean, std = said.get('image_mean'), said.get('image_std')
    if not said.get('do_normalize', True):
        mean, std = [0.0] * 3, [1.0] * 3
    if not mean or not std:
        return None
    scale = said.get('rescale_factor', 1 / 255) if said.get('do_rescale', True) else 1.0
    return Normalisation(
        tuple(value / scale for value in mean), tuple(value / scale for value in std)
    )


def without_pooler(cls: type) -> dict[str, bool]:
    """The argument, if there is one, by which a network has no layer behind its class token."""
    has_one = 'add_pooling_layer' in inspect.signature(cls.__init__).parameters
    return {'add_pooling_layer': False} if has_one else {}


def is_folder(name: str) -> bool:
    """Whether a name is that of a folder here, not of a model on the hub."""
    return Path(name).expanduser().is_dir()


def _path(name: str, file: str, fetch: bool) -> Path:
    if is_folder(name):
        path = Path(name).expanduser() / file
        if not path.is_file():
            raise FileNotFoundError(
                f'model.backbone: the folder {path.parent} has no {file}. Name a folder that '
                'save_pretrained() of transformers has written.'
            )
        return path
    if name.count('/') != 1 or name.startswith(('.', '~', '/')):
        raise FileNotFoundError(
            f'model.backbone.name={name!r}: expected a type ({", ".join(TYPES)}), a folder or '
            f'"user/model" on the hub.{did_you_mean(name, TYPES)}'
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, file, local_files_only=True))
    except LocalEntryNotFoundError as error:
        if not fetch:
            raise FileNotFoundError(
                f'model.backbone: {file} of {name!r} is not on this machine. Fetch it with "hf '
                f"download {name}\", or set model.backbone.init_cfg=dict(type='Pretrained', "
                f'checkpoint={name!r}), which downloads the weights too, or name a folder.'
            ) from error
    try:
        return Path(hf_hub_download(name, file))
    except EntryNotFoundError as error:
        raise FileNotFoundError(f'model.backbone: {name!r} has no {file} on the hub.') from error
    except Exception as error:  # of the connection, or of a name that nobody has
        raise ConnectionError(
            f'model.backbone: {file} of {name!r} cannot be had from the hub '
            f'({str(error).splitlines()[0]}). Without a connection, name a folder.'
        ) from error


def _vision_part(found: Mapping[str, Any]) -> dict[str, Any]:
    """The description of the images' side of a model of images and text."""
    vision = found.get('vision_config')
    if isinstance(vision, Mapping):
        return {**vision, 'model_type': f'{found.get("model_type")}_vision_model'}
    return dict(found)


def known_fields(kind: str) -> set[str]:
    """What a config of a type may be asked for: what is its own, not that of all models, such as
    code to load or an implementation to fetch.
    """
    transformers = import_transformers()
    common = transformers.PreTrainedConfig().to_dict()
    return set(transformers.CONFIG_MAPPING[kind]().to_dict()) - set(common) - set(RESERVED)


def _only(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    known = known_fields(kind)
    return {key: value for key, value in fields.items() if key in known}


def _listed(fields: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(dict(fields)))
