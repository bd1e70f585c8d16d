"""A model with all that is around its network, as one module from images to maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from m2h_mm.models.adapters import merge_adapters
from m2h_mm.models.building import require_tasks
from m2h_mm.models.optimize import optimize
from m2h_mm.models.pipeline import TEST
from m2h_mm.models.views import outputs_of_views


class DeployedModel(nn.Module):
    """The model's :class:`ImagePipeline` around its network, with tensors for input and output.

    Args:
        model: a :class:`MultiTaskModel`.
        tasks: those wanted; what only others need is not part of it. Default: all of the model.
        raw: yield the heads' outputs, as of ``mode='tensor'``, at their own resolution, instead of
            predictions. Default: False.
        half: the network computes in float16; images and results stay in float32. Default: False.
        dynamic: images are neither resized nor padded, as a program for any size cannot know how:
            whoever runs it does that, see :func:`~m2h_mm.inference.export.export_metadata`.
            Default: False, images are resized as the model was evaluated.

    ``model`` is changed: its adapters are put into the weights, ``half`` makes it float16, it is
    put into its fast form, and upsampling layers of mmseg are replaced.

    Shapes: image ``(N, 3, H, W)`` float32, RGB in 0..255, to one tensor per task in the model's
    order, ``(N, C, H, W)`` in the units of the predictions: class ids int64, else float32.

    Raises:
        ValueError: a task that the model does not have.
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Sequence[str] | None = None,
        raw: bool = False,
        half: bool = False,
        dynamic: bool = False,
    ) -> None:
        super().__init__()
        require_tasks('--tasks', tasks or (), tuple(model.tasks))
        self.names = tuple(name for name in model.tasks if not tasks or name in tasks)
        self.raw, self.half_precision, self.dynamic = raw, half, dynamic
        self.network = merge_adapters(model)
        if half:
            for name, part in model.named_children():
                if name != 'data_preprocessor':  # images in 0..255 are more than float16 can tell
                    part.half()
        replace_upsampling(optimize(model))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        pipeline = self.network.pipeline
        inputs, framing = pipeline.prepare_batch(image, None if self.dynamic else TEST)
        inputs = inputs.half() if self.half_precision else inputs
        outputs = outputs_of_views(self.network, inputs, self.names)
        if self.raw:
            return tuple(outputs[name].float() for name in self.names)
        return tuple(
            pipeline.finish(self.network.tasks[name], outputs[name].float(), framing)
            for name in self.names
        )


def replace_upsampling(model: nn.Module) -> None:
    """Put PyTorch's own layers in the place of mmseg's ``Upsample``, which binds an export to one
    size.
    """
    from mmseg.models.utils import Upsample  # slow to import

    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Upsample) and child.size is None:
                setattr(
                    parent,
                    name,
                    nn.Upsample(
                        scale_factor=child.scale_factor,
                        mode=child.mode,
                        align_corners=child.align_corners,
                    ),
                )
