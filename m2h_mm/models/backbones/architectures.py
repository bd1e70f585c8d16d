"""What the vision transformers check alike: their architecture, the blocks that they return, and
the size of an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from .vision_transformer import FEED_FORWARDS

REQUIRED = ('embed_dims', 'depth', 'num_heads')


def architecture(
    arch: str | Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    optional: Mapping[str, Any],
) -> dict[str, Any]:
    """A configured architecture with all defaults filled in.

    Args:
        arch: a name, or a dict with :data:`REQUIRED` and some of ``optional``.
        known: the settings of each name.
        optional: what a dict may leave out, with defaults.

    Raises:
        ValueError: an unknown name, keys that are missing or unknown, a feed-forward network that
            there is not, or heads that do not divide the channels.
    """
    if isinstance(arch, str):
        if arch not in known:
            raise ValueError(
                f'model.backbone.arch must be one of {sorted(known)} or a dict, got {arch!r}.'
            )
        arch = known[arch]
    elif not set(REQUIRED) <= set(arch) <= {*REQUIRED, *optional}:
        raise ValueError(
            f'model.backbone.arch as a dict must have {", ".join(REQUIRED)} and may have '
            f'{", ".join(optional)}, got {sorted(arch)}.'
        )
    settings = {**optional, **arch}
    if settings['ffn'] not in FEED_FORWARDS:
        raise ValueError(
            f'model.backbone.arch.ffn must be one of {sorted(FEED_FORWARDS)}, got '
            f'{settings["ffn"]!r}.'
        )
    if settings['embed_dims'] % settings['num_heads']:
        raise ValueError(
            f'model.backbone.arch: num_heads={settings["num_heads"]} must divide '
            f'embed_dims={settings["embed_dims"]}.'
        )
    return settings


def quarters(depth: int) -> tuple[int, ...]:
    """Four blocks, a quarter of the depth apart; of fewer than four each."""
    return tuple(sorted({-(-depth * quarter // 4) - 1 for quarter in (1, 2, 3, 4)}))


def block_numbers(out_indices: Sequence[int], depth: int, what: str = 'block') -> tuple[int, ...]:
    """The blocks whose outputs are returned.

    Args:
        out_indices: as the config states them.
        depth: how many there are.
        what: what they are called in the message.

    Raises:
        ValueError: they are no ascending numbers of blocks.
    """
    indices = tuple(out_indices)
    if (
        not indices
        or list(indices) != sorted(set(indices))
        or not 0 <= indices[0] <= indices[-1] < depth
    ):
        raise ValueError(
            f'model.backbone.out_indices must be ascending {what} numbers from 0 to {depth - 1}, '
            f'got {indices}.'
        )
    return indices


def patch_grid(image: Tensor, patch_size: int, name: str) -> tuple[int, int]:
    """Rows and columns of an image's patches.

    Args:
        image: ``(N, 3, H, W)``.
        patch_size: side of a patch in pixels.
        name: of the backbone, for the message.

    Raises:
        ValueError: a side is no multiple of ``patch_size``.
    """
    height, width = image.shape[2:]
    if height % patch_size or width % patch_size:
        raise ValueError(
            f'{name} needs images whose sides are multiples of {patch_size}, got '
            f'{height}x{width} (HxW). Set model.data_preprocessor.size_divisor={patch_size}, '
            'which pads images to such a size.'
        )
    return height // patch_size, width // patch_size
