"""The state dict in a checkpoint of a method's authors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

WRAPPERS = ('state_dict', 'model')
PREFIX = 'module.'  # of distributed training


def unwrap_official(
    content: Mapping, belongs: Callable[[str], object], code: str, expected: str
) -> dict[str, Tensor]:
    """The state dict without ``state_dict`` and ``model`` around it and ``module.`` before its
    keys.

    Args:
        content: what the file holds.
        belongs: whether a key is one that only this method has.
        code: the method, for the message.
        expected: how such keys begin, for the message.

    Raises:
        ValueError: no key belongs to the method.
    """
    state = content
    for wrapper in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if isinstance(state, Mapping):
        state = {str(key).removeprefix(PREFIX): value for key, value in state.items()}
    if not isinstance(state, Mapping) or not any(map(belongs, state)):
        found = list(state)[:5] if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(
            f'Not a checkpoint of the official {code} code: expected keys that begin with '
            f'{expected}, at the top or below "state_dict" or "model", found {found}.'
        )
    return state
