"""The state dict in a checkpoint of a method's authors."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from m2h_mm.structures.checkpoint_file import TRAINING_STATE
from m2h_mm.structures.weights import find_weights


def unwrap_official(
    content: Any, belongs: Callable[[str], object], code: str, expected: str
) -> dict[str, Tensor]:
    """The state dict without what stands around it and before its keys, see
    :func:`~m2h_mm.structures.weights.find_weights`.

    Args:
        content: what the file holds.
        belongs: whether a key is one that only this method has.
        code: the method, for the message.
        expected: how such keys begin, for the message.

    Raises:
        ValueError: no key belongs to the method.
    """
    wanted = f'expected keys that begin with {expected}'
    try:
        weights = find_weights(content, belongs, 'the file')
    except ValueError as error:
        raise ValueError(
            f'Not a checkpoint of the official {code} code, {wanted}: {error}'
        ) from error
    if not any(map(belongs, weights.state)):
        raise ValueError(
            f'Not a checkpoint of the official {code} code: {wanted}, also below others such as '
            f'"model" and behind prefixes such as "module.", found {list(weights.state)[:5]}.'
        )
    return weights.state


def without_archive(content: Any) -> Any:
    """What is below ``weights/`` in a ``.npz`` archive, or ``content`` that is none."""
    if not isinstance(content, Mapping):
        return content
    below = {
        key.removeprefix('weights/'): value
        for key, value in content.items()
        if isinstance(key, str) and key.startswith('weights/')
    }
    return below or content


@dataclass
class Conversion:
    """What became of an official state dict when it was fitted to a model.

    Attributes:
        state_dict: our key to tensor, only keys of the model.
        dead: official keys without effect, whether the model has them or not.
        unused: other official keys that the model has no place for.
        missing: keys of the model that the file does not fill, but for those without effect and for
            what only a training needs.
    """

    state_dict: dict[str, Tensor]
    dead: list[str]
    unused: list[str]
    missing: list[str]


def compare(
    converted: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    without_effect: Container[str],
    dead: list[str],
    unused: list[str],
    advice: str,
) -> Conversion:
    """What became of an official state dict, from its tensors under our names.

    Args:
        converted: our key to tensor, only keys of the model.
        expected: the model's ``state_dict()``.
        without_effect: keys of the model that no output depends on.
        dead, unused: see :class:`Conversion`.
        advice: what in the config to look at, for the message.

    Raises:
        ValueError: tensors of another shape than the model's, or nothing in common.
    """
    shapes = [
        f'{key} is {tuple(tensor.shape)}, the model wants {tuple(expected[key].shape)}'
        for key, tensor in converted.items()
        if tensor.shape != expected[key].shape
    ]
    if shapes or not converted:
        raise ValueError(
            f'The checkpoint does not fit the config: {len(shapes)} tensors of another shape '
            f'({"; ".join(shapes[:4]) or "and none of a known name"}). Check {advice}.'
        )
    missing = [
        key
        for key in expected
        if key not in converted and key not in without_effect and not key.startswith(TRAINING_STATE)
    ]
    return Conversion(dict(converted), dead, unused, missing)


def require_exact(
    names: Mapping[str, str | None],
    converted: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    advice: str,
) -> None:
    """Refuse an official state dict that is not the model's, weight for weight.

    Args:
        names: our key, or None, by official key; without those that have no effect.
        converted: our key to tensor.
        expected: the model's ``state_dict()``.
        advice: what in the config to look at, for the message.

    Raises:
        ValueError: official keys that the model has no place for; parameters of the model that the
            file lacks; tensors of another shape.
    """
    problems = {
        'of the checkpoint have no place in the model': [
            key for key, ours in names.items() if ours not in expected
        ],
        'of the model are not in the checkpoint': [
            key for key in expected if key not in converted and not key.startswith(TRAINING_STATE)
        ],
        'have another shape than the model wants': [
            f'{key} {tuple(tensor.shape)} for {tuple(expected[key].shape)}'
            for key, tensor in converted.items()
            if tensor.shape != expected[key].shape
        ],
    }
    if any(problems.values()):
        found = [
            f'{len(keys)} tensors {what}: {", ".join(keys[:8])}{", ..." if len(keys) > 8 else ""}'
            for what, keys in problems.items()
            if keys
        ]
        raise ValueError(
            f'The checkpoint does not fit the config. {". ".join(found)}. Check {advice}.'
        )
