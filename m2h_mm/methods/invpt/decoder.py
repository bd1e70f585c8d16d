"""InvPT's decoder: preliminary predictions, then attention over all tasks and positions at growing
resolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.methods.invpt.stage import NUM_HEADS, InvPTStage, conv_norm_relu
from m2h_mm.models.layers.resize import resize
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features, TaskFeatures

NUM_STAGES = 3
GRID_DIVISOR = 4
"""Positions of the backbone's map that one key of the attention stands for, per direction."""


@MODELS.register_module()
class InvPTDecoder(nn.Module):
    """InvPT (Inverted Pyramid Multi-task Transformer, arXiv 2203.07997), without a neck.

    Every task makes a preliminary prediction at half the resolution of the backbone's last map.
    Three stages of attention, in which every task looks at all positions of all tasks, work on what
    was found, at half, once and twice that map's resolution, with E, E / 2 and E / 4 channels. Each
    stage takes over the attention logits of the one before (cross-scale message passing); the
    backbone's first two maps enter the third and the second stage. The three outputs are summed at
    four times the map's resolution.

    This is what the published checkpoints hold; layers of the official code that no prediction
    depends on (the third map's embedding among them) are not built. Parameters:
    ``m2h-mm convert-checkpoint invpt``.

    Maps whose sides are no multiples of 4 are continued by their last row and column and the
    outputs cropped, so any image size works; nothing is continued where the image's sides are
    multiples of 4 patches, which ``model.data_preprocessor.size_divisor`` sees to: 64 pixels behind
    patches of 16, 56 behind patches of 14.

    With ``tasks``, a subset is asked for: all tasks still attend, only the outputs of the others
    are saved.

    Args:
        in_channels: channels of the backbone's maps, at least three. The first two and the last are
            used. Filled in by the model.
        in_strides: their strides in pixels, all equal. Filled in by the model.
        tasks: names of the tasks. Filled in by the model.
        task_channels: channels of each task's output. Filled in by the model.
        channels: C of the preliminary features. Default: 512, for a backbone of 1024 channels.
        extra_channels: E - C, what a stage has beyond them for the predictions. E must be a
            multiple of 8. Default: 64.

    Shapes: maps ``(N, C_i, h, w)`` to ``{task: (N, E, 4 h, 4 w)}``. In training ``aux`` holds the
    preliminary predictions ``{task: (N, K, h / 2, w / 2)}``, or ``(N, K, h, w)`` where h or w is no
    multiple of 4.

    Raises:
        ValueError: fewer than three maps, maps of several resolutions, no tasks, E not a multiple
            of 8.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[float],
        tasks: Sequence[str],
        task_channels: Mapping[str, int],
        channels: int = 512,
        extra_channels: int = 64,
    ) -> None:
        super().__init__()
        _check(in_channels, in_strides, tasks, channels, extra_channels)
        self.in_channels, self.in_strides = tuple(in_channels), tuple(in_strides)
        self.strides = dict.fromkeys(tasks, in_strides[-1] / 4)
        self.tasks = tuple(tasks)
        width = channels + extra_channels
        widths = [width // 2**stage for stage in range(NUM_STAGES)]
        self.out_channels = dict.fromkeys(self.tasks, width)
        last = in_channels[-1]
        self.preliminary = nn.ModuleDict(
            {
                task: nn.Sequential(*conv_norm_relu(last, last), *conv_norm_relu(last, channels))
                for task in tasks
            }
        )
        self.preliminary_heads = nn.ModuleDict(
            {task: nn.Conv2d(channels, task_channels[task], 1) for task in tasks}
        )
        self.mix = nn.ModuleDict(
            {task: nn.Conv2d(channels + task_channels[task], width, 1) for task in tasks}
        )
        # For the second and the third stage.
        self.skips = nn.ModuleList(
            [
                nn.Conv2d(in_channels[1], widths[1], 3, padding=1),
                nn.ConvTranspose2d(
                    in_channels[0], widths[2], 3, stride=2, padding=1, output_padding=1
                ),
            ]
        )
        self.stages = nn.ModuleList(
            InvPTStage(
                tasks, widths[stage], width, 2 ** (stage + 1), widths[stage - 1] if stage else None
            )
            for stage in range(NUM_STAGES)
        )
        self.project = nn.ModuleDict(
            {
                task: nn.Sequential(
                    nn.Conv2d(width, width, 3, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                )
                for task in tasks
            }
        )

    def forward(self, features: Features, tasks: Sequence[str] | None = None) -> TaskFeatures:
        """
        Args:
            features: the backbone's maps, of one resolution.
            tasks: those asked for. Default: all.
        """
        wanted = self.tasks if tasks is None else tuple(tasks)
        indices = [self.tasks.index(task) for task in wanted]
        height, width = grid = features.maps[-1].shape[-2:]
        fine, middle, last = (continue_to_multiple(features.maps[level]) for level in (0, 1, -1))
        padded = last.shape[-2:]
        predictions, tokens = self.predict_preliminarily(
            resize(last, (padded[0] // 2, padded[1] // 2))
        )

        size = (4 * padded[0], 4 * padded[1])
        tokens, logits = self.stages[0](tokens)
        summed = self.stages[0].contribution(tokens, indices, size)
        for stage, embed, level in zip(self.stages[1:], self.skips, (middle, fine), strict=True):
            tokens, logits = stage(stage.upsample(tokens, embed(level)), logits)
            summed += stage.contribution(tokens, indices, size)
        summed = summed.unflatten(0, (-1, len(wanted)))[..., : 4 * height, : 4 * width]
        maps = {task: self.project[task](summed[:, index]) for index, task in enumerate(wanted)}
        if not self.training:
            return TaskFeatures(maps)
        if padded != grid:
            predictions = {
                task: resize(x, padded)[..., :height, :width] for task, x in predictions.items()
            }
        return TaskFeatures(maps, [predictions])

    def predict_preliminarily(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Preliminary predictions of a map ``(N, C_i, h, w)``, and what the first stage starts
        from.

        Returns:
            ``{task: (N, K, h, w)}`` and ``(N, T, h, w, E)``.
        """
        predictions, mixed = {}, []
        for task in self.tasks:
            found = self.preliminary[task](x)
            predictions[task] = self.preliminary_heads[task](found)
            mixed.append(
                self.mix[task](torch.cat([found, predictions[task]], dim=1)).permute(0, 2, 3, 1)
            )
        return predictions, torch.stack(mixed, dim=1)


def continue_to_multiple(x: Tensor) -> Tensor:
    """``(N, C, h, w)`` continued by its last row and column until both sides are multiples of 4.

    Repeated, not zero: a position that no image has would still be attended to.
    """
    bottom, right = -x.shape[2] % GRID_DIVISOR, -x.shape[3] % GRID_DIVISOR
    return F.pad(x, (0, right, 0, bottom), mode='replicate') if bottom or right else x


def _check(
    in_channels: Sequence[int],
    in_strides: Sequence[float],
    tasks: Sequence[str],
    channels: int,
    extra_channels: int,
) -> None:
    if len(in_channels) < 3 or len(set(in_strides)) != 1:
        raise ValueError(
            'model.decoder (InvPTDecoder): expected at least three maps of one resolution, got '
            f'{len(in_channels)} of strides {tuple(in_strides)}. Use a transformer as '
            "model.backbone (type='DINOv2', type='ViT') with at least three out_indices, and "
            'model.neck=None.'
        )
    if not tasks:
        raise ValueError(
            'model.decoder (InvPTDecoder): model.tasks is empty. Name at least one task.'
        )
    divisor = NUM_HEADS * 2 ** (NUM_STAGES - 1)
    if channels < 1 or extra_channels < 0 or (channels + extra_channels) % divisor:
        raise ValueError(
            'model.decoder (InvPTDecoder): expected channels + extra_channels to be a multiple '
            f'of {divisor} (halved twice, then split into {NUM_HEADS} heads), got {channels} + '
            f'{extra_channels} = {channels + extra_channels}. Change model.decoder.channels or '
            'model.decoder.extra_channels.'
        )
