"""LoRA: low-rank adaptation of a backbone whose own weights stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

from .blank_run import BlankRun, run_blank
from .by_task import TaskBatch, complete_batch
from .layer_choice import KEY, choose_layers, is_norm, matches
from .low_rank import LayerAdapter, LowRank

FUSED = 'qkv'
QKV = ('q', 'k', 'v')
ATTENTION = (FUSED, 'q_proj', 'k_proj', 'v_proj', 'query', 'key', 'value')
"""The layers that make queries, keys and values, as backbones call them."""


@MODELS.register_module()
class LoRA(nn.Module):
    """Low-rank adaptation (arXiv 2106.09685): chosen layers of the backbone compute ``W x + b +
    alpha / rank * B (A dropout(x))`` with trained A and B, and nothing else of it is trained.

    A is random and B zero at first, so that a training begins with the backbone as it is. The
    backbone stays in train mode, with its stochastic depth, but norms that are not trained keep
    their statistics. The backbone's parameters keep their names; those of the adapters are called
    ``adapters.low_rank.<layer>.A``, such as ``adapters.low_rank.blocks.0.attn.qkv.q.A``.

    With ``per_task=True`` each task has adapters of its own, like MTLoRA's task-specific ones
    (arXiv 2403.20320, section 3), and features of its own. The blocks before the first adapted one
    run once, that one and those behind it once for each task, in one batch; see
    :class:`TaskBatch`. Only decoders can be used that start from each task's own features.

    The defaults are those of the published M2H-MX models (arXiv 2603.29236), which also train the
    norms: ``train_norms=True``.

    Args:
        layers: patterns of layers' names within the backbone, for whole parts between dots:
            ``'fc1'``, ``'mlp.fc*'``, ``'blocks.11'`` for all in it. Linear layers and ungrouped
            convolutions can be adapted. Default: those that make queries, keys and values
            (:data:`ATTENTION`).
        rank: R, of every A and B. Default: 16.
        alpha: the change is multiplied by ``alpha / rank``. Default: 32.
        dropout: of a layer's input, for the change alone. Default: 0.05.
        qkv: which of a layer called ``qkv``, that makes all three at once, are adapted, each with
            an A and a B of its own. Default: all three.
        last_units: adapt only the last n units of the backbone that its outputs depend on: the
            blocks of a transformer, the stages of a convolutional network. Default: all.
        per_task: adapters for each task, see above. Default: False, shared by all.
        train_norms: train the normalisation layers of the backbone as well. Default: False.
        also_train: patterns of further parameters of the backbone that are trained, such as
            ``('ls*', 'patch_embed')``. Default: none. What the backbone itself has frozen stays so.
        tasks: names of the tasks. Filled in by the model.

    Raises:
        ValueError: an argument out of range. By :meth:`attach`: layers that are not there, whose
            weights another module reads without calling them, or that compute without gradients; a
            backbone that cannot run for several tasks in one batch.
    """

    def __init__(
        self,
        layers: Sequence[str] = ATTENTION,
        rank: int = 16,
        alpha: float = 32.0,
        dropout: float = 0.05,
        qkv: Sequence[str] = QKV,
        last_units: int | None = None,
        per_task: bool = False,
        train_norms: bool = False,
        also_train: Sequence[str] = (),
        tasks: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.patterns = (layers,) if isinstance(layers, str) else tuple(layers)
        self.also_train = (also_train,) if isinstance(also_train, str) else tuple(also_train)
        self.rank, self.alpha, self.dropout = rank, alpha, dropout
        self.qkv, self.last_units = tuple(qkv), last_units
        self.train_norms = train_norms
        self._check()
        # A task alone needs no adapters of its own.
        self.per_task = per_task and len(tasks) > 1
        self.names = tuple(tasks) if self.per_task else ('',)
        self.low_rank = nn.Module()
        self.adapted: dict[str, LayerAdapter] = {}
        self.batch: TaskBatch | None = None

    def attach(self, backbone: nn.Module) -> None:
        """Adapt a backbone: its layers get their adapters, and what is not to be trained is frozen.

        Raises:
            ValueError: see the class.
        """
        seen = run_blank(backbone)
        layers = choose_layers(backbone, self.patterns, self.last_units, seen)
        if self.per_task:
            self.batch = TaskBatch(backbone, list(layers), self.names, seen)
        trainable = {id(p) for p in backbone.parameters() if p.requires_grad}
        backbone.requires_grad_(False)
        trained = [p for p in self._also_trained(backbone, seen) if id(p) in trainable]
        for parameter in trained:
            parameter.requires_grad_()
        for name, layer in layers.items():
            self.adapted[name] = self._adapt(name, layer)
        if self.per_task:
            self._run_for(())
        own, all_own = _count(trained), _count(backbone.parameters())
        print_log(
            f'LoRA: {_count(self.parameters()):,} parameters adapt {len(layers)} layers of '
            f'{type(backbone).__name__}; {own:,} of its own {all_own:,} are trained.',
            'current',
        )

    def run(
        self, backbone: Callable[[Tensor], Features], images: Tensor, tasks: Sequence[str]
    ) -> Features:
        """The features of ``per_task`` adapters.

        Args:
            backbone: the adapted one.
            images: ``(N, 3, H, W)``.
            tasks: those that the features are for, T of them.

        Returns:
            With a batch of ``T * N``, the samples of each task one after the other.
        """
        self._run_for(tuple(tasks))
        try:
            features = Features.of(backbone(images))
        finally:
            self._run_for(())
        return complete_batch(features, len(images), len(tasks)) if len(tasks) > 1 else features

    def merge(self) -> None:
        """Put the adapters into the weights of their layers; there are none afterwards.

        Raises:
            ValueError: there are several tasks with adapters of their own.
        """
        if self.per_task:
            raise ValueError(
                f'{KEY}.per_task=True: the adapters of {list(self.names)} cannot be merged, as one '
                'weight cannot be several. Run and export the model as it is.'
            )
        for adapter in self.adapted.values():
            adapter.merge()
        self.adapted.clear()

    def keep_statistics(self, backbone: nn.Module) -> None:
        """Put norms that are not trained into eval mode, so that they do not drift."""
        for module in backbone.modules():
            if isinstance(module, _NormBase) and not any(
                parameter.requires_grad for parameter in module.parameters()
            ):
                module.eval()

    def _run_for(self, tasks: tuple[str, ...]) -> None:
        self.batch.times = len(tasks)
        for adapter in self.adapted.values():
            adapter.tasks = tasks

    def _adapt(self, name: str, layer: nn.Module) -> LayerAdapter:
        parts: Sequence[str | None] = ('',)
        channels = layer.weight.shape[0]
        if name.rpartition('.')[2] == FUSED:
            parts = [part if part in self.qkv else None for part in QKV]
            if channels % len(QKV):
                raise ValueError(
                    f'{KEY}.layers: {name} has {channels} outputs, expected as many queries as '
                    'keys and values. Name other layers.'
                )
        found: list[dict[str, LowRank] | None] = []
        for part in parts:
            pairs = None
            if part is not None:
                pairs = {
                    task: LowRank(layer, channels // len(parts), self.rank) for task in self.names
                }
                for task, pair in pairs.items():
                    _place(self.low_rank, '.'.join(filter(None, (name, part, task))), pair)
            found.append(pairs)
        return LayerAdapter(layer, found, self.alpha / self.rank, self.dropout)

    def _also_trained(self, backbone: nn.Module, seen: BlankRun) -> list[nn.Parameter]:
        found = []
        if self.train_norms:
            for name, module in backbone.named_modules():
                if name in seen.calls and is_norm(module):
                    found += module.parameters(recurse=False)
        for pattern in self.also_train:
            own = backbone.named_parameters()
            matching = [parameter for name, parameter in own if matches(name, (pattern,))]
            if not matching:
                raise ValueError(
                    f'{KEY}.also_train: no parameter of model.backbone is called {pattern}.'
                )
            found += matching
        return list({id(parameter): parameter for parameter in found}.values())

    def _check(self) -> None:
        last = self.last_units
        wrong = {
            'rank': (self.rank, self.rank >= 1, 'a number from 1'),
            'dropout': (self.dropout, 0 <= self.dropout < 1, 'a number from 0, below 1'),
            'qkv': (self.qkv, self.qkv and set(self.qkv) <= set(QKV), f'some of {QKV}'),
            'layers': (self.patterns, self.patterns, 'at least one pattern'),
            'last_units': (last, last is None or last >= 1, 'a number from 1'),
        }
        for name, (value, fine, expected) in wrong.items():
            if not fine:
                raise ValueError(f'{KEY}.{name}: expected {expected}, got {value!r}.')


def _place(root: nn.Module, name: str, module: nn.Module) -> None:
    """Register a module under a dotted name, in modules that hold nothing else."""
    *path, last = name.split('.')
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root._modules[part]
    root.add_module(last, module)


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
