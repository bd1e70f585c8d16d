"""What each kind of part takes, yields and states about itself: one Protocol per kind.

Nobody has to inherit from these classes. They say what the model calls and reads, and the model
refuses a part that lacks an attribute which its contract annotates (:mod:`m2h_mm.models.building`).
What a part may state, but need not, stands in the docstring.

Throughout, N is the batch, C channels, h and w the size of a map, H and W the size of the input in
pixels. A stride is pixels of the input per step of a map.

A task has a base class instead, :class:`m2h_mm.tasks.Task`, since most of it is shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from .consistency_context import ConsistencyContext
from .features import Features, TaskFeatures


class Backbone(Protocol):
    """Images to feature maps.

    ``__init__`` is given ``tasks`` (names, in the model's order) and ``task_channels`` (name to
    channels of the task's output), if it has such arguments.

    May state ``task_map_channels``: channels of its ``task_maps`` by task name, which the decoder
    is then given. If it also states ``takes_tasks = True``, it is called with ``tasks`` where only
    some are asked for, and need not compute the ``task_maps`` of the others.

    May state ``size_divisor``: sides of an image must be multiples of it, in pixels, and so must
    ``data_preprocessor.size_divisor``; and, once weights are loaded, ``normalisation``: the mean
    and std per channel, in 0..255, that they were trained with, of which the model warns if its
    own are others. A backbone that is built from a file or a download says by a static method
    ``stored_config(cfg) -> cfg`` how it is built without.

    Backbones of mmseg return a tensor or a tuple of tensors and state nothing: the model runs them
    once on a blank image to find out.

    Attributes:
        out_channels: C_i of each map.
        strides: of each map.
    """

    out_channels: Sequence[int]
    strides: Sequence[float]

    def __call__(self, image: Tensor) -> Features | Tensor | Sequence[Tensor]:
        """``(N, 3, H, W)``, RGB, normalised, to maps ``(N, C_i, H / stride_i, W / stride_i)``."""

    def units(self) -> Iterable[nn.Module]:
        """The modules that sharding and adapters take as a whole: a transformer's blocks.

        They are called as modules and do not overlap. A backbone without this method: see
        :func:`m2h_mm.models.backbones.backbone_units`.
        """


class Adapters(Protocol):
    """What changes a backbone whose own weights stay as they are, by few parameters.

    ``__init__`` is given ``tasks``, if it has such an argument.

    Attributes:
        per_task: whether each task has its own, see ``run``.
    """

    per_task: bool

    def attach(self, backbone: nn.Module) -> None:
        """Change the backbone in place, and freeze what is not to be trained."""

    def keep_statistics(self, backbone: nn.Module) -> None:
        """Called when the model is put into train mode: norms that are not trained must not be in
        it.
        """

    def run(self, backbone: nn.Module, images: Tensor, tasks: Sequence[str]) -> Features:
        """With ``per_task``, the features for T tasks: a batch of T times as many samples, those of
        one task after the other.
        """

    def merge(self) -> None:
        """Put them into the backbone's weights, whose names are then all there is."""


class Neck(Protocol):
    """A backbone's features to a pyramid, fine to coarse.

    ``__init__`` is given ``in_channels`` and ``in_strides`` of the maps that it will see. If the
    neck states them as attributes, they are checked.

    Attributes:
        out_channels: C_i of each level.
        strides: of each level, growing.
    """

    out_channels: Sequence[int]
    strides: Sequence[float]

    def __call__(self, features: Features) -> Features:
        """Maps ``(N, C_i, h_i, w_i)``. ``task_maps``, ``aux`` and ``source`` may be left out: the
        model hands on the backbone's.
        """


class Decoder(Protocol):
    """Features to one map per task.

    ``__init__`` is given ``in_channels`` and ``in_strides`` of the maps that it will see,
    ``source_channels`` of the backbone's own maps, ``tasks``, ``task_channels`` and, behind a
    backbone that states them, ``task_map_channels``. If the decoder states ``in_channels`` or
    ``in_strides`` as attributes, they are checked. May state ``strides`` of each task's map, by
    task name.

    May have ``source_tasks(tasks)``, if it reads ``features.of_task(task)`` instead of
    ``features``: those whose own features it needs to make the maps of ``tasks``, None for all.
    Adapters of the backbone may then be each task's own (``model.adapters.per_task``).

    Attributes:
        out_channels: channels C of each task's map, by task name.
    """

    out_channels: Mapping[str, int]

    def __call__(self, features: Features, tasks: Sequence[str] | None = None) -> TaskFeatures:
        """Maps ``{task: (N, C, h, w)}`` of ``tasks``, by default of all. In training also ``aux``,
        intermediate predictions to supervise, and ``details`` for losses that know them.
        """


class Interaction(Protocol):
    """The exchange between tasks inside ``M2HDecoder``.

    ``__init__`` is given ``channels`` C and ``tasks``. May state ``independent = True``: no task
    looks at another, so that a task can be computed alone.
    """

    def __call__(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """``{task: (N, C, h, w)}`` to the same keys and shapes."""


class Merger(Protocol):
    """What is added to the exchanged maps inside ``M2HDecoder``.

    ``__init__`` is given ``channels`` C, ``source_channels`` of the backbone's maps and
    ``task_names``.
    """

    def __call__(
        self,
        fused: dict[str, Tensor],
        attended: dict[str, Tensor],
        features: Features,
        tasks: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """The maps before and after the interaction, ``{task: (N, C, h, w)}``, to such maps of
        ``tasks``.
        """


class Head(Protocol):
    """One task's map to its output.

    ``__init__`` is given ``in_channels`` C and ``out_channels`` K, the channels of the task's
    output.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """``(N, C, h, w)`` to ``(N, K, h', w')`` in the task's own space: class logits, metres,
        unit vectors, edge logits.
        """


class Loss(Protocol):
    """One task's loss.

    May state ``final_only = True``: it is then not computed of intermediate predictions.
    """

    def __call__(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """``pred (N, K, H, W)``, ``target (N, C, H, W)``, ``valid (N, 1, H, W)`` bool to a scalar:
        float32, 0 with zero gradients where nothing is valid. Targets that are not valid are
        arbitrary.
        """


class ConsistencyLoss(Protocol):
    """A loss between several tasks' outputs, or of one task that looks at more than its output.

    In ``model.consistency`` it counts beside the tasks; among ``model.losses`` of a task it counts
    with that task, which is balanced against the others.

    May state ``needs_camera = False``: frames whose intrinsics are not known then count too. May
    state ``name``, under which it is logged; by default that of its class.

    Attributes:
        tasks: names of the tasks that it looks at.
    """

    tasks: Sequence[str]

    def __call__(self, context: ConsistencyContext) -> Tensor:
        """A scalar, float32, 0 with zero gradients where ``context.valid`` is nowhere True."""


class Weighting(Protocol):
    """The balance between the tasks' losses.

    ``__init__`` is given ``tasks``. May state ``shared``, parts of the model such as
    ``('neck', 'decoder')``, whose trainable parameters it is then given beside the losses. May
    have ``learn_after_step({task: loss})``: it is then given the losses of the same frames behind
    each step of the optimizer. Its parameters and buffers are saved with checkpoints.

    Attributes:
        weights: the weights of the last call by task name, scalars, for logging.
    """

    weights: Mapping[str, Tensor]

    def __call__(
        self, losses: Mapping[str, Tensor], parameters: Sequence[nn.Parameter] = ()
    ) -> dict[str, Tensor]:
        """``{task: scalar}`` to ``{task: weighted scalar}``."""


class Metric(Protocol):
    """The scores of one task over a data set: an mmengine ``BaseMetric``.

    It keeps sums that are enough to compute the scores, never whole maps.

    Attributes:
        prefix: in front of each score's name, ``<prefix>/<name>``.
    """

    prefix: str | None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take in the samples of a batch: dicts with ``gt_*`` and ``pred_*`` fields."""

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The scores of what was taken in, by name."""
