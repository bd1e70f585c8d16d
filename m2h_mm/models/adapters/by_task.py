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

    Args:
        backbone: gets a hook.
        layers: names of the adapted layers.
        seen: a run of the backbone.

    Attributes:
        times: the number of tasks that the backbone runs for.
    """

    def __init__(self, backbone: nn.Module, layers: Sequence[str], seen: BlankRun) -> None:
        self.times = 1
        units = used_units(backbone, seen)
        inside = all(any(is_in(layer, unit) for unit in units) for layer in layers)
        first = next((unit for unit in units if any(is_in(layer, unit) for layer in layers)), '')
        # Layers before all units, or units that are called in another way: everything runs for
        # each task.
        if inside and seen.calls[first].positional:
            units[first].register_forward_pre_hook(self.grow)
        else:
            backbone.register_forward_pre_hook(self.grow)

    def grow(self, module: nn.Module, inputs: tuple) -> tuple | None:
        """The hook."""
        if self.times <= 1:
            return None
        return map_tensors(lambda x: torch.cat([x] * self.times), inputs[0]), *inputs[1:]

    def try_out(self, backbone: nn.Module, layers: Sequence[str], tasks: Sequence[str]) -> None:
        """Run the backbone for all tasks, to see if what is behind the hook follows.

        Args:
            backbone: its layers have no adapters yet.
            layers: those that will have.
            tasks: their names.

        Raises:
            ValueError: a layer or an output has another batch; the backbone knows the tasks itself.
        """
        self.times = len(tasks)
        try:
            found = run_blank(backbone, IMAGES)
        except (RuntimeError, TypeError, ValueError) as error:
            raise _refused(
                f'it cannot run for {len(tasks)} tasks in one batch ({error})'
            ) from error
        finally:
            self.times = 1
        batch = IMAGES * len(tasks)
        for layer in layers:
            if (found.calls[layer].batch or 1) % batch:
                raise _refused(f'{layer} is not called with a batch of samples')
        features = found.features
        if features.aux or features.task_maps:
            raise _refused('it knows the tasks itself')
        tensors: list[Tensor] = []
        map_tensors(tensors.append, features.as_dict())
        if any(tensor.shape[0] not in (IMAGES, batch) for tensor in tensors):
            raise _refused('its outputs are no batch of samples')


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


def _refused(reason: str) -> ValueError:
    return ValueError(f'{KEY}.per_task=True: model.backbone: {reason}. Set per_task=False.')
