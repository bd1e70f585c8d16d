"""Several views of one image at test time, and the mean of what the network says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from .multitask_model import MultiTaskModel


def outputs_of_views(
    model: MultiTaskModel, inputs: Tensor, tasks: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """The heads' outputs, as of ``mode='tensor'``, averaged over the views that the pipeline asks
    for: the image at ``test_scales``, and with ``test_flip`` its mirror images too.

    Each task says what a mirrored output means and how outputs are averaged
    (:meth:`Task.mirror_output`, :meth:`Task.mean_output`). An image enlarged by s looks as from s
    times as near: what grows with the focal length is multiplied by s.

    Args:
        model: a :class:`MultiTaskModel`.
        inputs: ``(N, 3, H, W)``, normalised and padded.
        tasks: those asked for. Default: all.
    """
    pipeline = model.pipeline
    if pipeline.test_scales == (1.0,) and not pipeline.test_flip:
        return model.run_network(inputs, tasks)[0]
    found: dict[str, list[Tensor]] = {}
    for scale in pipeline.test_scales:
        view = _scaled(inputs, scale, pipeline.size_divisor)
        for mirrored in (False, True) if pipeline.test_flip else (False,):
            outputs = model.run_network(view.flip(-1) if mirrored else view, tasks)[0]
            for name, output in outputs.items():
                task = model.tasks[name]
                output = task.mirror_output(output) if mirrored else output
                if task.grows_with_focal:
                    output = output * (view.shape[-1] / inputs.shape[-1])
                # As the first view's: the finest where scales begin with it.
                first = found[name][0] if name in found else output
                size = tuple(first.shape[-2:])
                found.setdefault(name, []).append(task.resize_output(output, size))
    return {
        name: model.tasks[name].mean_output(torch.stack(outputs)) for name, outputs in found.items()
    }


def _scaled(inputs: Tensor, scale: float, divisor: int) -> Tensor:
    if scale == 1:
        return inputs
    size = [max(1, round(length * scale / divisor)) * divisor for length in inputs.shape[-2:]]
    return F.interpolate(inputs, size=size, mode='bilinear', antialias=scale < 1)
