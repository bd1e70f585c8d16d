"""backbone -> neck -> decoder -> heads -> losses: the one forward to read first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from mmengine.structures import PixelData
from torch import Tensor, nn

from m2h_mm.registry import MODELS
from m2h_mm.structures import ConsistencyContext, Features, MultiTaskDataSample, contracts
from m2h_mm.tasks import Task, build_tasks

from .adapters.building import build_adapters, require_source_tasks
from .adapters.by_task import split_by_task
from .building import (
    build_losses,
    build_part,
    describe_backbone,
    require_parts,
    require_tasks,
    trainable_of,
    warn_of_random_backbone,
)
from .cameras import stack_cameras, stack_poses
from .canonical_camera import canonical_focal_of, focal_ratios, scale_labels, scale_maps
from .data_preprocessor import framing_of
from .input_check import require_padding, warn_of_normalisation
from .labels import stack_labels
from .losses.consistency import log_keys
from .losses_after_step import SteppedModel
from .network_output import NetworkOutput
from .pipeline import ImagePipeline
from .task_losses import TaskLosses
from .views import outputs_of_views


@MODELS.register_module()
class MultiTaskModel(SteppedModel):
    """One image in, one dense prediction per task out.

    Channels and strides are passed along when the parts are built: what a part's config leaves out
    (``in_channels``, ``in_strides``, ``out_channels`` of a head, ``tasks``) is filled in from the
    part before it, and what it states is checked against it. What each kind of part takes and
    yields: :mod:`m2h_mm.structures.contracts`.

    Args:
        tasks: name to arguments of each task, see :func:`m2h_mm.tasks.build_tasks`. The order is
            the order of the tasks everywhere in the model.
        backbone: config of a module that returns :class:`Features`, or of any mmseg backbone
            (``mmseg.HRNet``). It is given the tasks, if it asks for them.
        adapters: config of what is trained in place of the backbone's own weights, such as
            :class:`LoRA`. Default: none.
        decoder: config of a module ``Features -> TaskFeatures``.
        heads: task name to the config of its head.
        losses: task name to the config of its loss, or to a list of configs that are summed. One
            between tasks may be among them and then counts with the task, see :class:`TaskLosses`.
        neck: config of a module ``Features -> Features``. Default: none.
        weighting: config of the module that balances the tasks' losses. Default:
            ``FixedWeighting``, all 1.
        consistency: configs of losses between tasks. Frames without ``cam2img`` count in none that
            needs a camera.
        aux_weight: factor of the losses of intermediate predictions, those of the decoder and of a
            backbone that makes some, relative to the task's own: one for all, or by task name.
        freeze_backbone: whatever the backbone, train none of its parameters, build no graph in it
            and keep it in eval mode, so that no BatchNorm drifts and nothing is dropped. A part is
            frozen by the backbone's own ``frozen_stages`` (and ``norm_eval`` of mmseg's backbones).
            Default: False.
        channels_last: weights and inputs in the memory format ``torch.channels_last``, which
            changes no value. Default: False.
        data_preprocessor: config. Default: :class:`MultiTaskDataPreprocessor`.
        init_cfg: see mmengine's ``BaseModule``.

    Raises:
        ValueError: parts that do not fit each other; the message names both.
    """

    def __init__(
        self,
        tasks: Mapping[str, dict],
        backbone: dict,
        decoder: dict,
        heads: Mapping[str, dict],
        losses: Mapping[str, dict | Sequence[dict]],
        neck: dict | None = None,
        adapters: dict | None = None,
        weighting: dict | None = None,
        consistency: Sequence[dict] = (),
        aux_weight: float | Mapping[str, float] = 1.0,
        freeze_backbone: bool = False,
        channels_last: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type='MultiTaskDataPreprocessor'), init_cfg)
        self.tasks: dict[str, Task] = build_tasks(tasks)
        names = tuple(self.tasks)
        require_tasks('model.heads', heads, names, complete=True)

        task_channels = {name: task.channels for name, task in self.tasks.items()}
        self.backbone = build_part(
            'model.backbone', backbone, 'model.tasks', tasks=names, task_channels=task_channels
        )
        require_padding(self.backbone, self.data_preprocessor)
        self._backbone_takes_tasks = getattr(self.backbone, 'takes_tasks', False)
        self.canonical_focal = canonical_focal_of(self.data_preprocessor, self.tasks)
        channels, strides = describe_backbone(self.backbone)
        self.adapters = build_adapters(adapters, self.backbone, names, freeze_backbone)
        source = f'model.backbone ({backbone["type"]})'
        given = dict(in_channels=channels, in_strides=strides)
        self.neck = None
        if neck is not None:
            self.neck = build_part('model.neck', neck, source, contracts.Neck, **given)
            source = f'model.neck ({neck["type"]})'
            given = dict(
                in_channels=tuple(self.neck.out_channels), in_strides=tuple(self.neck.strides)
            )
        if hasattr(self.backbone, 'task_map_channels'):
            given['task_map_channels'] = self.backbone.task_map_channels
        self.decoder = build_part(
            'model.decoder',
            decoder,
            source,
            contracts.Decoder,
            **given,
            source_channels=channels,
            tasks=names,
            task_channels=task_channels,
        )
        require_source_tasks(self.adapters, self.decoder)
        source = f'model.decoder ({decoder["type"]})'
        require_tasks(f'{source}.out_channels', self.decoder.out_channels, names, complete=True)
        self.heads = nn.ModuleDict(
            {
                name: build_part(
                    f'model.heads.{name}',
                    heads[name],
                    source,
                    in_channels=self.decoder.out_channels[name],
                    out_channels=task.channels,
                )
                for name, task in self.tasks.items()
            }
        )

        self.losses = TaskLosses(losses, self.tasks, aux_weight)
        self.weighting = build_part(
            'model.weighting',
            weighting or dict(type='FixedWeighting'),
            'model.tasks',
            contracts.Weighting,
            tasks=names,
        )
        self._weighting_parts = require_parts(self, getattr(self.weighting, 'shared', ()))
        self.consistency = build_losses(
            'model.consistency', list(consistency), contracts.ConsistencyLoss
        )
        for index, module in enumerate(self.consistency):
            require_tasks(
                f'model.consistency[{index}] ({type(module).__name__})', module.tasks, names
            )
        self._consistency_keys = log_keys(self.consistency, names)
        self._need_context = len(self.consistency) > 0 or self.losses.need_context

        self.freeze_backbone = freeze_backbone
        if freeze_backbone:
            self.backbone.requires_grad_(False).eval()
        self.channels_last = channels_last
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> MultiTaskModel:
        """As for every module, but a backbone that is frozen stays in eval mode."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        elif self.adapters is not None:
            self.adapters.keep_statistics(self.backbone)
        return self

    def init_weights(self) -> None:
        """As for every module, with a warning where a frozen backbone would stay random."""
        if self.freeze_backbone or self.adapters is not None:
            key = 'freeze_backbone=True' if self.freeze_backbone else 'adapters'
            warn_of_random_backbone(f'model.{key}', self.backbone)
        super().init_weights()
        warn_of_normalisation(self.backbone, self.data_preprocessor)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[MultiTaskDataSample] | None = None,
        mode: str = 'tensor',
        tasks: Sequence[str] | None = None,
    ) -> dict[str, Tensor] | list[MultiTaskDataSample]:
        """
        Args:
            inputs: ``(N, 3, H, W)``, normalised, H and W multiples of the backbone's stride.
            data_samples: one per image; labels for ``'loss'``, metainfo for ``'predict'``.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.
            tasks: the tasks asked for; what the others need is not computed. Default: all. Not for
                ``'loss'``.

        Returns:
            ``'tensor'``: the heads' outputs ``{task: (N, C, h, w)}`` at their own resolution;
            ``'predict'``: the samples with ``pred_*`` fields at each frame's ``ori_shape``;
            ``'loss'``: what is to be summed and logged.
        """
        if tasks is not None:
            require_tasks('tasks', tasks, tuple(self.tasks))
        if mode == 'tensor':
            return self.run_network(inputs, tasks)[0]
        if mode == 'predict':
            return self.predict(inputs, data_samples, tasks)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        raise ValueError(f"mode: expected 'loss', 'predict' or 'tensor', got {mode!r}.")

    def extract_features(self, inputs: Tensor, tasks: Sequence[str] | None = None) -> Features:
        """What the decoder sees: the neck's features, or the backbone's where there is no neck;
        ``by_task`` what it needs for ``tasks``, where each task has adapters of its own.
        """
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        by_task = self.adapters is not None and self.adapters.per_task
        if by_task:
            sources = self.decoder.source_tasks(tasks)
            found = self.adapters.run(self.backbone, inputs, sources)
        else:
            subset = dict(tasks=tasks) if tasks and self._backbone_takes_tasks else {}
            with torch.no_grad() if self.freeze_backbone else nullcontext():
                found = Features.of(self.backbone(inputs, **subset))
        if self.freeze_backbone:
            found.aux = []  # nothing could be learned from them
        features = found if self.neck is None else self.neck(found)
        if features is not found:
            # A neck makes maps; what else the backbone found stays as it is.
            features.source = features.source or found
            features.task_maps = features.task_maps or found.task_maps
            features.aux = features.aux or found.aux
        return split_by_task(features, sources) if by_task else features

    def run_network(self, inputs: Tensor, tasks: Sequence[str] | None = None) -> NetworkOutput:
        """All that is computed from the images alone, for ``tasks`` or all."""
        features = self.extract_features(inputs, tasks)
        decoded = self.decoder(features, tasks=tasks)
        outputs = {
            name: self.heads[name](decoded.maps[name])
            for name in self.tasks
            if tasks is None or name in tasks
        }
        # Without losses that look at them, the features need not outlive the decoder.
        kept = features if self.training and self._need_context else None
        return NetworkOutput(outputs, [*features.aux, *decoded.aux], kept, decoded.details)

    def loss(self, inputs: Tensor, data_samples: list[MultiTaskDataSample]) -> dict[str, Tensor]:
        """Losses at the input's resolution.

        Returns:
            ``loss_<task>``, weighted, and ``loss_<consistency>``, which mmengine sums;
            ``raw_<task>``, the task's loss before weighting, and ``w_<task>``, its weight, which
            are only logged.
        """
        size = tuple(inputs.shape[-2:])
        # Labels and cameras come first: a GPU that is asked about them, or is given them, has to be
        # idle, which it is not again before the optimizer's step.
        targets = {
            name: task.target(stack_labels(task, data_samples, size, inputs.device))
            for name, task in self.tasks.items()
        }
        wanted, context, ratios = targets, None, None
        if self.canonical_focal is not None:
            ratios = focal_ratios(data_samples, size, self.canonical_focal, inputs.device)
            wanted = scale_labels(targets, self.tasks, 1 / ratios)
        if self._need_context:
            cameras = stack_cameras(data_samples, size, inputs.device)
            poses, neighbours = stack_poses(data_samples, inputs.device)
        network = self.run_network(inputs)
        full = {
            name: self.tasks[name].resize_output(output, size)
            for name, output in network.outputs.items()
        }
        if self._need_context:
            context = ConsistencyContext(
                full,
                wanted,
                network.features,
                *cameras,
                details=network.details,
                poses=poses,
                neighbours=neighbours,
            )
        raw = self.losses(full, network.aux, wanted, context)
        shared = (trainable_of(self, parts),) if (parts := self._weighting_parts) else ()
        logged = {f'loss_{name}': loss for name, loss in self.weighting(raw, *shared).items()}
        logged.update({f'raw_{name}': loss.detach() for name, loss in raw.items()})
        logged.update(
            {
                f'w_{name}': torch.as_tensor(weight).detach()
                for name, weight in self.weighting.weights.items()
            }
        )
        if self._need_context and ratios is not None:
            # Between tasks, and between frames, things have their true distances.
            full = scale_maps(full, self.tasks, ratios)
            context = replace(context, outputs=full, labels=targets)
        for key, module in zip(self._consistency_keys, self.consistency, strict=True):
            logged[key] = module(context.seen_by(module))
        return logged

    def val_step(self, data: dict) -> list[MultiTaskDataSample]:
        """Predictions of a batch: each frame's, whatever the sizes of the others, is that of the
        frame alone, see :meth:`MultiTaskDataPreprocessor.split`.
        """
        found: dict[int, MultiTaskDataSample] = {}
        for indices, part in self.data_preprocessor.split(data):
            found.update(zip(indices, super().val_step(part), strict=True))
        return [found[index] for index in sorted(found)]

    test_step = val_step

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[MultiTaskDataSample],
        tasks: Sequence[str] | None = None,
    ) -> list[MultiTaskDataSample]:
        """Predictions of each frame at its own size, see :meth:`ImagePipeline.finish`."""
        outputs = outputs_of_views(self, inputs, tasks)
        for index, sample in enumerate(data_samples):
            framing = framing_of(sample, inputs.shape[-2:])
            for name, output in outputs.items():
                task = self.tasks[name]
                prediction = self.pipeline.finish(
                    task,
                    output[index : index + 1],
                    framing,
                    sample.get('ori_shape'),
                    sample.get('cam2img'),
                )
                sample.set_field(PixelData(data=prediction[0]), task.pred_field)
        return data_samples

    @property
    def pipeline(self) -> ImagePipeline:
        """What is around the network: :class:`ImagePipeline`."""
        return self.data_preprocessor.pipeline
