"""One run of a backbone for several tasks: their samples one after the other in the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from m2h_mm.structures import Features
from m2h_mm.structures.features import map_tensors

from .blank_run import BlankRun, run_blank
from .layer_choice import KEY, is_in, used_units

IMAGES = 5  # of a blank run: that any other dimension is a multiple of it is unlikely


class TaskBatch:
    """Lets the batch grow where the first adapted layer is: what comes before it runs once.

    If the backbone takes that amiss, as it has put down the size of the batch before, all of it
    runs for each task.

    Args:
        backbone: gets a hook. Its layers have no adapters yet.
        layers: names of the layers that will have.
        tasks: their names.
        seen: a run of the backbone.

    Attributes:
        times: the number of tasks that the backbone runs for.

    Raises:
        ValueError: a layer or an output has another batch than that of all tasks; the backbone
            knows the tasks itself.
    """

    def __init__(
        self, backbone: nn.Module, layers: Sequence[str], tasks: Sequence[str], seen: BlankRun
    ) -> None:
        self.times = 1
        units = used_units(backbone, seen)
        inside = all(any(is_in(layer, unit) for unit in units) for layer in layers)
        first = next((unit for unit in units if any(is_in(layer, unit) for layer in layers)), '')
        places = [units[first], backbone] if inside and seen.calls[first].positional else [backbone]
        for place in places:
            handle = place.register_forward_pre_hook(self.grow)
            problem = self._try_out(backbone, layers, len(tasks), seen)
            if problem is None:
                return
            handle.remove()
        raise ValueError(
            f'{KEY}.per_task=True: model.backbone cannot run for {len(tasks)} tasks in one batch: '
            f'{problem}. Set per_task=False.'
        )

    def grow(self, module: nn.Module, inputs: tuple) -> tuple | None:
        """The hook."""
        if self.times <= 1:
            return None
        return map_tensors(lambda x: torch.cat([x] * self.times), inputs[0]), *inputs[1:]

    def _try_out(
        self, backbone: nn.Module, layers: Sequence[str], times: int, seen: BlankRun
    ) -> str | None:
        """What is wrong where the backbone runs for so many tasks, None if nothing is."""
        self.times = times
        try:
            found = run_blank(backbone, IMAGES)
        except (RuntimeError, TypeError, ValueError) as error:
            return str(error)
        finally:
            self.times = 1
        batches = IMAGES, IMAGES * times
        if found.features.aux or found.features.task_maps:
            return 'it knows the tasks itself'
        for layer in layers:
            if (found.calls[layer].batch or 1) % batches[1]:
                return f'{layer} is not called with a batch of images'
        for alone, together in zip(_shapes(seen), _shapes(found), strict=True):
            if together[0] not in batches or together[1:] != alone[1:]:
                return f'where one image yields {alone}, {batches[1]} yield {together}'
        return None


def _shapes(run: BlankRun) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    map_tensors(lambda x: found.append(tuple(x.shape)), run.features.as_dict())
    return found


def complete_batch(features: Features, images: int, times: int) -> Features:
    """A backbone's features with what was computed once for all tasks, a batch of ``images``,
    repeated.
    """

    def complete(tensor: Tensor) -> Tensor:
        return torch.cat([tensor] * times) if tensor.shape[0] == images else tensor

    return Features.from_dict(map_tensors(complete, features.as_dict()))


def split_by_task(features: Features, tasks: Sequence[str]) -> Features:
    """Features whose batch holds the samples of one task after the other, as
    ``Features.by_task``.
    """
    content = features.as_dict()
    return Features(
        maps=(),
        by_task={
            task: Features.from_dict(
                map_tensors(lambda x, index=index: x.chunk(len(tasks))[index], content)
            )
            for index, task in enumerate(tasks)
        },
    )
