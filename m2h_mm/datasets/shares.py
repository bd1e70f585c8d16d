"""Which frames belong to a split that is a list, a pattern or a share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path

from .files import read_ids

ALL = 'all'
Parts = Mapping[str, float | str | Sequence[str]]


def divide(
    frames: Mapping[str, str], splits: Parts, rest: str | None, root: Path
) -> dict[str, list[str]]:
    """The frames of every split.

    Args:
        frames: id to group; frames of a group, such as one scene, stay together in a share.
        splits: name to a share of the groups, a list of ids in a file (``*.txt``, below ``root``),
            or a pattern or patterns of ids (``*`` and ``?``). Lists and patterns go before shares.
        rest: name of the split of all frames that no other one has, None if there is no such.
        root: the data's folder.

    Returns:
        Name to ids, in the order of a list, else sorted.

    Raises:
        ValueError: a value of another kind, shares above 1 together.
        FileNotFoundError: there is no such list.
    """
    shares = {name: part for name, part in splits.items() if _is_share(name, part)}
    if sum(shares.values()) > 1 + 1e-9:
        raise ValueError(f'splits: expected shares of at most 1 together, got {shares}.')
    found = {
        name: _stated(name, part, frames, root)
        for name, part in splits.items()
        if name not in shares
    }
    taken = {frame_id for ids in found.values() for frame_id in ids}
    left = sorted(frame_id for frame_id in frames if frame_id not in taken)
    groups = sorted({frames[frame_id] for frame_id in left}, key=place_of)
    total = len(groups)
    for name, share in shares.items():
        count = min(len(groups), max(1, round(share * total)))
        chosen, groups = set(groups[:count]), groups[count:]
        found[name] = [frame_id for frame_id in left if frames[frame_id] in chosen]
        taken.update(found[name])
    if rest is not None and rest not in found:
        found[rest] = [frame_id for frame_id in left if frame_id not in taken]
    return found


def place_of(group: str) -> float:
    """A number in [0, 1) that follows from a name alone: a share has the same groups on every
    machine, and keeps most of them when others come.
    """
    digest = blake2b(group.encode('utf-8', 'surrogatepass'), digest_size=8).digest()
    return int.from_bytes(digest, 'big') / 2**64


def _is_share(name: str, part: object) -> bool:
    if isinstance(part, (int, float)) and not isinstance(part, bool):
        if not 0 < part < 1:
            raise ValueError(f'splits.{name}: expected a share above 0 and below 1, got {part!r}.')
        return True
    parts = [part] if isinstance(part, str) else part
    if not isinstance(parts, Sequence) or not all(isinstance(one, str) for one in parts):
        raise ValueError(
            f"splits.{name}: expected a share such as 0.1, a list 'val.txt', or patterns of ids "
            f"such as 'kitchen/*', got {part!r}."
        )
    return False


def _stated(
    name: str, part: str | Sequence[str], frames: Mapping[str, str], root: Path
) -> list[str]:
    if isinstance(part, str) and part.endswith('.txt'):
        path = root / part
        if not path.is_file():
            raise FileNotFoundError(
                f'splits.{name}: there is no {path}, the list of frame ids, one per line.'
            )
        return read_ids(path)
    patterns = [part] if isinstance(part, str) else list(part)
    return sorted(
        frame_id for frame_id in frames if any(fnmatchcase(frame_id, one) for one in patterns)
    )
