"""Training that shares out parameters, gradients and optimizer states among processes (FSDP)."""

from __future__ import annotations

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.dist import is_distributed
from mmengine.model.wrappers import MMFullyShardedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import FlexibleRunner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

from m2h_mm.models.backbones import backbone_units
from m2h_mm.registry import MODEL_WRAPPERS, RUNNERS, STRATEGIES


class TrainedUnits:
    """The wrap policy: a unit of the backbone with parameters that are trained is gathered and
    freed on its own.

    What the units are, the backbone declares, see
    :func:`~m2h_mm.models.backbones.backbone_units`. All else, the decoder and the heads, is one
    unit: it has few parameters, and fast paths of it read the weights of a layer instead of calling
    it.

    Args:
        model: whose attribute ``backbone`` is asked.
    """

    def __init__(self, model: nn.Module) -> None:
        backbone = getattr(model, 'backbone', None)
        self.units = {id(unit) for unit in (() if backbone is None else backbone_units(backbone))}

    def __call__(self, module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
        """torch's question.

        Args:
            module: in question.
            recurse: whether torch asks if it shall look into the module, or else if it shall wrap
                it.
            nonwrapped_numel: its parameters that are trained and in no unit yet.
        """
        return recurse or (id(module) in self.units and nonwrapped_numel > 0)


@MODEL_WRAPPERS.register_module()
class ShardedModel(MMFullyShardedDataParallel):
    """mmengine's fully sharded model, also on CPUs, for models that are partly frozen.

    Each part of the backbone that is trained is a unit, see :class:`TrainedUnits`. Frozen
    parameters are no one's: every process keeps them whole, they are neither gathered nor reduced.

    Gradients are clipped by the norm over all processes; ``clip_grad`` of an optimizer wrapper
    alone would see the norm of this process's share, and each process would scale its share by
    another factor.

    Args:
        module: the model.
        device_id: the GPU, filled in by mmengine; not used without GPUs.
        kwargs: as of ``MMFullyShardedDataParallel``: ``sharding_strategy`` (``'FULL_SHARD'``,
            ``'SHARD_GRAD_OP'``, ...), ``cpu_offload``, ...

    Raises:
        ValueError: a weighting that goes back through the network several times in a step, or once
            more forward: no process has the parameters that takes.
    """

    def __init__(self, module: nn.Module, device_id: int | None = None, **kwargs) -> None:
        device = (
            torch.device('cuda', device_id) if torch.cuda.is_available() else torch.device('cpu')
        )
        kwargs.setdefault('auto_wrap_policy', TrainedUnits(module))
        weighting = getattr(module, 'weighting', None)
        if getattr(weighting, 'shared', ()) or hasattr(weighting, 'learn_after_step'):
            raise ValueError(
                f'model.weighting ({type(weighting).__name__}): it looks at the gradients of each '
                'task, or at the losses behind the step, for which a sharded model has not the '
                'parameters. Leave out the ablation fsdp, or choose a weighting that looks at '
                'losses alone.'
            )
        frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
        for parameter in frozen:  # FSDP leaves what it ignores where it is
            parameter.data = parameter.data.to(device)
        super().__init__(module, device_id=device, ignored_states=frozen, **kwargs)

    def train_step(
        self, data: dict | tuple | list, optim_wrapper: OptimWrapper
    ) -> dict[str, Tensor]:
        """One iteration.

        Raises:
            ValueError: an optimizer wrapper that scales the loss in each process by another factor.
        """
        if isinstance(optim_wrapper, AmpOptimWrapper) and not isinstance(
            optim_wrapper.loss_scaler, ShardedGradScaler
        ):
            raise ValueError(
                'optim_wrapper: loss scaling by AmpOptimWrapper needs use_fsdp=True with a '
                'sharded model. bfloat16 needs none: --amp --cfg-options '
                'optim_wrapper.dtype=bfloat16.'
            )
        if optim_wrapper.clip_grad_kwargs and optim_wrapper.grad_name == 'grad_norm':
            optim_wrapper.clip_func = lambda parameters, **limits: self.clip_grad_norm_(**limits)
        return super().train_step(data, optim_wrapper)

    def val_step(self, data: dict) -> list[BaseDataElement]:
        """Predictions of a batch.

        Raises:
            ValueError: frames of several sizes. Each size would be a step of its own, and processes
                that have more of them than others would wait for ever.
        """
        sizes = len(self.module.data_preprocessor.split(data))
        if sizes > 1:
            raise ValueError(
                f'val_dataloader.batch_size or test_dataloader.batch_size: a batch of '
                f'{len(data["inputs"])} frames has {sizes} sizes. Expected one, as the model is '
                'sharded. Set batch_size=1.'
            )
        return super().val_step(data)

    test_step = val_step


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """mmengine's ``FSDPStrategy`` with :class:`ShardedModel` and checkpoints that any runner reads.

    Args:
        model_wrapper: config of the wrapper, by default a :class:`ShardedModel`.
        state_dict_cfg: ``'full'`` (default): the first process writes one ordinary checkpoint;
            ``'local'``: each writes its share, for models that no process can hold.
        sync_bn: as of :func:`~m2h_mm.engine.distributed.build_runner`: on GPUs, ``'torch'``
            (default) or None.
        kwargs: as of ``FSDPStrategy``.

    Raises:
        ValueError: in a single process.
    """

    def __init__(
        self,
        *,
        model_wrapper: dict | None = None,
        state_dict_cfg: str | dict = 'full',
        sync_bn: str | None = 'torch',
        **kwargs,
    ) -> None:
        if not is_distributed():
            raise ValueError(
                'strategy (ShardedStrategy): there are no processes to share the model out to. '
                'Start the training by tools/dist_train.sh CONFIG PROCESSES, or set '
                "runner_type='Runner'."
            )
        model_wrapper = {'type': 'ShardedModel', **(model_wrapper or {})}
        super().__init__(
            model_wrapper=model_wrapper,
            state_dict_cfg=state_dict_cfg,
            sync_bn=sync_bn if torch.cuda.is_available() else None,
            **kwargs,
        )
        if not torch.cuda.is_available():  # torch would free what it has not copied
            self.state_dict_config.offload_to_cpu = self.optim_state_dict_config.offload_to_cpu = (
                False
            )

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        return super()._wrap_model(self.convert_model(model))

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load what ``optim_state_dict`` gave; mmengine passes torch its arguments in the order of
        torch 2.0.
        """
        self.optim_wrapper.load_state_dict(
            FullyShardedDataParallel.optim_state_dict_to_load(
                self.model, self.optim_wrapper.optimizer, state_dict
            )
        )


@RUNNERS.register_module()
class ShardedRunner(FlexibleRunner):
    """mmengine's ``FlexibleRunner``, which has strategies, with hooks and checkpoints as its
    ``Runner`` has them.

    Checkpoints are loaded behind the hooks' ``before_run``, which may choose another or prepare for
    it, and hold the iteration that a hook states: ``save_best`` saves when it is already counted.
    """

    def load_or_resume(self) -> None:
        """Nothing yet, see :meth:`call_hook`."""

    def call_hook(self, fn_name: str, **kwargs) -> None:
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'before_run':
            super().load_or_resume()

    def save_checkpoint(self, *args, meta: dict | None = None, **kwargs) -> None:
        counted = self.iter
        self.train_loop._iter = (meta or {}).get('iter', counted + 1) - 1
        try:
            super().save_checkpoint(*args, meta=meta, **kwargs)
        finally:
            self.train_loop._iter = counted
