"""What travels between backbone, neck, decoder and heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor


@dataclass
class Features:
    """What a backbone or a neck makes of one batch of N images.

    Only ``maps`` is always there. Everything else is for those that have it and those that ask.

    Attributes:
        maps: one ``(N, C_i, h_i, w_i)`` map per level; from a neck, fine to coarse.
        cls_tokens: one ``(N, C_i)`` class token per level, where the backbone has them.
        register_tokens: ``(N, R, C_i)`` per level, where the backbone has R register tokens.
        task_maps: what a backbone that knows the tasks found for each of them: a map
            ``(N, C, h, w)`` by task name, or a tuple of them, one per level. A decoder may start
            from them.
        aux: predictions that the backbone supervises, one dict per scale: task name to an output in
            the task's own space, at any resolution. The model applies the task's own loss to them,
            as it does to a decoder's.
        by_task: each task's own features, where adapters give the backbone another set of weights
            for each task. The other fields are then empty, see :meth:`of_task`.
        source: what a neck was given, kept for decoders that also look at the backbone's own maps
            (M2H's unique features). None on what comes from a backbone.
    """

    maps: tuple[Tensor, ...]
    cls_tokens: tuple[Tensor, ...] | None = None
    register_tokens: tuple[Tensor, ...] | None = None
    task_maps: dict[str, Tensor | tuple[Tensor, ...]] | None = None
    aux: list[dict[str, Tensor]] = field(default_factory=list)
    source: Features | None = None
    by_task: dict[str, Features] | None = None

    @classmethod
    def of(cls, output: Features | Tensor | Mapping | list | tuple) -> Features:
        """A backbone's output as features: mmseg's backbones yield a tensor or a sequence."""
        if isinstance(output, Features):
            return output
        return cls(maps=(output,) if isinstance(output, Tensor) else tuple(output))

    def of_task(self, task: str) -> Features:
        """What a task sees: its own features, or those that all share."""
        return self if self.by_task is None else self.by_task[task]

    def as_dict(self) -> dict[str, Any]:
        """Every field by name, as plain nested containers of tensors."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Features:
        """The inverse of :meth:`as_dict`."""
        source, by_task = content.get('source'), content.get('by_task')
        own = by_task and {task: cls.from_dict(features) for task, features in by_task.items()}
        return cls(**{**content, 'source': source and cls.from_dict(source), 'by_task': own})


@dataclass
class TaskFeatures:
    """What a decoder hands to the heads.

    Attributes:
        maps: one ``(N, C, h, w)`` map per task.
        aux: intermediate predictions to supervise, one dict per scale: task name to an output in
            the task's own space, at any resolution.
        details: by task name, what its output was made of, by names that the method's own losses
            know, such as the logits of depth bins.
    """

    maps: dict[str, Tensor]
    aux: list[dict[str, Tensor]] = field(default_factory=list)
    details: dict[str, dict[str, Tensor]] = field(default_factory=dict)


def _plain(value: Any) -> Any:
    if isinstance(value, Features):
        return value.as_dict()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def map_tensors(function: Callable[..., Any], content: Any, *others: Any) -> Any:
    """``content`` with ``function`` applied to each tensor in it, and its containers kept.

    Args:
        function: given the tensor of ``content`` and those at the same place of ``others``.
        content: a tensor, None, or dicts, lists and tuples of them.
        others: containers of the same structure.

    Raises:
        TypeError: something else than these in ``content``.
    """
    if content is None:
        return None
    if isinstance(content, Mapping):
        return {
            key: map_tensors(function, value, *(other[key] for other in others))
            for key, value in content.items()
        }
    if isinstance(content, (list, tuple)):
        return type(content)(
            map_tensors(function, *values) for values in zip(content, *others, strict=True)
        )
    if not isinstance(content, Tensor):
        raise TypeError(
            f'Features hold tensors, None, and dicts, lists and tuples of them, got {content!r}.'
        )
    return function(content, *others)
