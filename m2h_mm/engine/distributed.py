"""Several processes that train or test one model, on GPUs or on CPUs.

With GPUs mmengine starts them. Its start binds every process to a GPU, so that on CPUs, where the
processes talk by gloo, they are started here. Only this module knows of the difference.
"""

from __future__ import annotations

import gc
import io
import os
from copy import deepcopy
from datetime import timedelta

import torch

# Before there are processes: functions in these modules have the group of all processes as a
# default argument and, imported later, would keep it for ever; see leave_processes().
import torch.distributed.fsdp.sharded_grad_scaler
import torch.distributed.nn.functional
import torch.distributed.optim
from mmengine.config import Config
from mmengine.dist import init_dist, is_distributed
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import FlexibleRunner, Runner
from torch import Tensor, nn

from m2h_mm.models.losses_after_step import take_step
from m2h_mm.registry import MODEL_WRAPPERS, RUNNERS
from m2h_mm.system.processes import end_with_launcher

from .config_check import check_arguments, warn_of_unused_names
from .hooks import BroadcastNormStatisticsHook
from .shared_preprocessing import share_preprocessing
from .shared_tasks import share_tasks
from .workers import leave_out_workers

# Those that mmengine adds to every training, unless they are None.
HOOKS_OF_MMENGINE = (
    'runtime_info',
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
)

# By launcher, the environment variable that numbers the processes of a machine.
LOCAL_RANKS = {
    'pytorch': 'LOCAL_RANK',
    'slurm': 'SLURM_LOCALID',
    'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK',
}


def build_runner(cfg: Config) -> Runner | FlexibleRunner:
    """The runner of a config, as one of the processes that ``cfg.launcher`` started.

    What several processes need is filled in where the config does not say otherwise:
    ``model_wrapper_cfg``, the arguments of :class:`DistributedModel`, and ``sync_bn='torch'``, so
    that batch statistics are those of the frames of all processes; ``sync_bn=None`` keeps them
    apart. On CPUs, where torch cannot synchronise them, they always are.

    Args:
        cfg: not changed. Its ``runner_type`` may name another runner than mmengine's ``Runner``.

    Raises:
        ValueError: a part of the config with an unknown type or argument; see also
            :func:`join_processes`.
    """
    cfg = share_preprocessing(share_tasks(deepcopy(cfg)))
    leave_out_hooks(cfg)
    leave_out_workers(cfg)
    # Here, and not where mmengine builds each part: some it would build after hours of training.
    check_arguments(cfg)
    join_processes(cfg.get('launcher', 'none'), **cfg.get('env_cfg', {}).get('dist_cfg', {}))
    if not is_distributed():
        return _build(cfg)
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        find_unused_parameters=cfg.get('find_unused_parameters', False)
    )
    # With its scope: mmengine looks for a wrapper in its own registry.
    cfg.model_wrapper_cfg = {'type': 'm2h_mm.DistributedModel', **wrapper}
    cfg.sync_bn = cfg.get('sync_bn', 'torch') if torch.cuda.is_available() else None
    runner = _build(cfg)
    runner.register_hook(BroadcastNormStatisticsHook())
    return runner


def _build(cfg: Config) -> Runner | FlexibleRunner:
    runner = RUNNERS.build(cfg)
    warn_of_unused_names(cfg, runner.model)
    for handler in runner.logger.handlers:
        # Names of frames may hold what is not UTF-8: it is written by its number.
        if isinstance(getattr(handler, 'stream', None), io.TextIOWrapper):
            handler.stream.reconfigure(errors='backslashreplace')
    return runner


def leave_out_hooks(cfg: Config) -> None:
    """Take out of ``default_hooks`` what is None there: so a child config leaves out a hook.

    mmengine understands None for its own hooks only, which it would add otherwise.
    """
    for name, hook in list((cfg.get('default_hooks') or {}).items()):
        if hook is None and name not in HOOKS_OF_MMENGINE:
            cfg.default_hooks.pop(name)


def join_processes(
    launcher: str, backend: str = 'nccl', timeout: float | None = None, **options
) -> None:
    """Find the other processes, and take this one's GPU if there are any; end with torchrun, if it
    started this process.

    Args:
        launcher: ``'pytorch'`` (torchrun); with GPUs also ``'slurm'`` and ``'mpi'``, see mmengine's
            ``init_dist``; ``'none'``: nothing is done.
        backend: of ``torch.distributed`` on GPUs; CPUs have gloo.
        timeout: seconds after which a process that waits for the others gives up. Default: torch's.
        options: further ones of ``torch.distributed.init_process_group``. All three are
            ``env_cfg.dist_cfg``.

    Raises:
        ValueError: another launcher, a process that it did not start, more processes on a machine
            than GPUs, or a launcher that needs GPUs where there are none.
    """
    if launcher == 'none' or is_distributed():
        return
    end_with_launcher()
    on_gpus = torch.cuda.is_available()
    _require_launcher(launcher, on_gpus)
    if timeout is not None:
        options['timeout'] = timeout
    if on_gpus:
        # Settles on the platform's way to start data loaders: init_dist() would choose another
        # where none is chosen, and mmengine's Runner warn of that.
        torch.multiprocessing.get_start_method()
        init_dist(launcher, backend, **options)
    else:
        if timeout is not None:
            options['timeout'] = timedelta(seconds=timeout)
        torch.distributed.init_process_group('gloo', **options)


def leave_processes() -> None:
    """End what :func:`join_processes` began; nothing in a single process.

    Call it where nothing refers to the runner or its model any more: the wrapper of a model keeps
    the group of processes, and with it threads of gloo, until it is deleted. A thread that is still
    about to delete the tensors of the last exchange when Python ends aborts the process after all
    its work ("terminate called without an active exception"; seen with torch 2.13 and Python 3.11
    in one process of twenty). Python makes a thread end that asks for its lock so late, and torch
    asks for it where C++ allows no such end (TensorImpl::decref_pyobject within
    ProcessGroupGloo::runLoop).
    """
    if is_distributed():
        gc.collect()  # a runner and its loops refer to each other
        torch.distributed.destroy_process_group()  # waits for the threads


def _require_launcher(launcher: str, on_gpus: bool) -> None:
    if launcher not in LOCAL_RANKS:
        raise ValueError(f'--launcher: expected one of {["none", *LOCAL_RANKS]}, got {launcher!r}.')
    if launcher != 'pytorch' and not on_gpus:
        raise ValueError(
            f'--launcher {launcher}: without GPUs, processes are started by torchrun alone. '
            'Start them by tools/slurm_train.sh or tools/dist_train.sh, which use --launcher '
            'pytorch.'
        )
    if LOCAL_RANKS[launcher] not in os.environ:
        raise ValueError(
            f'--launcher {launcher}: this process was not started by it, the environment has no '
            f'{LOCAL_RANKS[launcher]}. Start it by tools/dist_train.sh, tools/dist_test.sh or '
            'tools/slurm_train.sh, or leave --launcher out.'
        )
    rank, devices = int(os.environ[LOCAL_RANKS[launcher]]), torch.cuda.device_count()
    if on_gpus and rank >= devices:
        raise ValueError(
            f'--launcher {launcher}: process {rank} of this machine has no GPU, there are '
            f'{devices}. Start one process per GPU, or train on the CPU with '
            'CUDA_VISIBLE_DEVICES=-1.'
        )


@MODEL_WRAPPERS.register_module()
class DistributedModel(MMDistributedDataParallel):
    """mmengine's data-parallel model, also on CPUs: every process has the model, gradients are
    averaged.

    Parameters without gradient, those of a frozen backbone, are sent once, at the start. Buffers
    are not sent around: those of the loss weighting are sums of this process alone until it adds
    them up itself.

    Args:
        module: the model.
        device_ids: the GPU, filled in by mmengine; not used without GPUs.
        broadcast_buffers: overwrite all buffers by the first process's in every iteration, default
            False.
        kwargs: as of ``MMDistributedDataParallel``, such as ``find_unused_parameters``, which no
            model of this project needs: a task without labels has zero gradients, not none.
    """

    def __init__(
        self,
        module: nn.Module,
        device_ids: list[int] | None = None,
        broadcast_buffers: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(
            module,
            device_ids=device_ids if torch.cuda.is_available() else None,
            broadcast_buffers=broadcast_buffers,
            **kwargs,
        )

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """mmengine's; for a weighting that asks for them, with the losses behind the step."""
        return take_step(super().train_step, self.module, data, optim_wrapper)
