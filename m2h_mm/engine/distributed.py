"""Several processes that train or test one model, on GPUs or on CPUs.

mmengine's own start binds every process to a GPU. Here it is bound to one where there are GPUs;
elsewhere the processes talk by gloo, and the model's wrapper names no device. This is the only
place that knows of the difference.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from copy import deepcopy
from datetime import timedelta

import torch
from mmengine.config import Config
from mmengine.dist import is_distributed
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import FlexibleRunner, Runner
from torch import nn

from m2h_mm.registry import MODEL_WRAPPERS, RUNNERS

from .hooks import BroadcastNormStatisticsHook

# What torch.distributed reads, and where the launchers other than torchrun put it.
VARIABLES = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE')
LAUNCHERS = {
    'pytorch': VARIABLES,
    'slurm': ('SLURM_PROCID', 'SLURM_LOCALID', 'SLURM_NTASKS'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK', 'OMPI_COMM_WORLD_SIZE'),
}
FIRST_PORT, PORTS = 20000, 10000


def build_runner(cfg: Config) -> Runner | FlexibleRunner:
    """The runner of a config, as one of the processes that ``cfg.launcher`` started.

    What several processes need is filled in where the config does not say otherwise:
    ``model_wrapper_cfg``, the arguments of :class:`DistributedModel`, and ``sync_bn='torch'``, so
    that batch statistics are those of the frames of all processes; ``sync_bn=None`` keeps them
    apart. On CPUs, where torch cannot synchronise them, they always are.

    Args:
        cfg: not changed. Its ``runner_type`` may name another runner than mmengine's ``Runner``.

    Raises:
        ValueError: see :func:`join_processes`.
    """
    cfg = deepcopy(cfg)
    join_processes(cfg.get('launcher', 'none'), **cfg.get('env_cfg', {}).get('dist_cfg', {}))
    if not is_distributed():
        return RUNNERS.build(cfg)
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        find_unused_parameters=cfg.get('find_unused_parameters', False)
    )
    cfg.model_wrapper_cfg = {
        'type': 'm2h_mm.DistributedModel',
        **wrapper,
    }  # mmengine looks in its own registry
    cfg.sync_bn = cfg.get('sync_bn', 'torch') if torch.cuda.is_available() else None
    runner = RUNNERS.build(cfg)
    runner.register_hook(BroadcastNormStatisticsHook())
    return runner


def join_processes(
    launcher: str, backend: str = 'nccl', timeout: float | None = None, **options
) -> None:
    """Find the other processes, and take this one's GPU if there are any.

    Args:
        launcher: ``'pytorch'`` (torchrun), ``'slurm'``, ``'mpi'``, or ``'none'``: nothing is done.
        backend: of ``torch.distributed`` on GPUs; CPUs have gloo.
        timeout: seconds after which a process that waits for the others gives up. Default: torch's.
        options: further ones of ``torch.distributed.init_process_group``. All three are
            ``env_cfg.dist_cfg``.

    Raises:
        ValueError: another launcher, a process that it did not start, or more processes on a
            machine than GPUs.
    """
    if launcher == 'none' or is_distributed():
        return
    _read_variables(launcher)
    if torch.cuda.is_available():
        rank, devices = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
        if rank >= devices:
            raise ValueError(
                f'--launcher {launcher}: process {rank} of this machine has no GPU, '
                f'there are {devices}. '
                'Start one process per GPU, or train on the CPU with '
                'CUDA_VISIBLE_DEVICES=-1.'
            )
        torch.cuda.set_device(rank)
    else:
        backend = 'gloo'
    if timeout is not None:
        options['timeout'] = timedelta(seconds=timeout)
    torch.distributed.init_process_group(backend, **options)


def leave_processes() -> None:
    """End what :func:`join_processes` began; nothing in a single process."""
    if is_distributed():
        torch.distributed.destroy_process_group()


def end_process(launcher: str) -> None:
    """End a program that succeeded, as the last of its calls; nothing with the launcher ``'none'``.

    Left to the interpreter, the end of about one process in twenty was an abort after all work was
    done ("terminate called without an active exception"): threads of torch outlive what they belong
    to.
    """
    if launcher != 'none':
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _read_variables(launcher: str) -> None:
    """Set the environment variables that ``torch.distributed`` reads from those of ``launcher``."""
    if launcher not in LAUNCHERS:
        raise ValueError(f'--launcher: expected one of {["none", *LAUNCHERS]}, got {launcher!r}.')
    missing = [name for name in LAUNCHERS[launcher] if name not in os.environ]
    if missing:
        raise ValueError(
            f'--launcher {launcher}: this process was not started by it, the '
            'environment has no '
            f'{", ".join(missing)}. Start it by tools/dist_train.sh, '
            'tools/dist_test.sh or '
            'tools/slurm_train.sh, or leave --launcher out.'
        )
    os.environ.update(
        zip(VARIABLES, (os.environ[name] for name in LAUNCHERS[launcher]), strict=True)
    )
    if launcher == 'slurm':
        if 'MASTER_ADDR' not in os.environ:
            command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_JOB_NODELIST']]
            os.environ['MASTER_ADDR'] = subprocess.check_output(command, text=True).split()[0]
        # Two jobs may share a machine.
        os.environ.setdefault(
            'MASTER_PORT', str(FIRST_PORT + int(os.environ['SLURM_JOB_ID']) % PORTS)
        )
    elif 'MASTER_ADDR' not in os.environ or 'MASTER_PORT' not in os.environ:
        raise ValueError(
            f'--launcher {launcher}: set MASTER_ADDR and MASTER_PORT to a machine and '
            'a free port, where '
            'the processes find each other.'
        )


@MODEL_WRAPPERS.register_module()
class DistributedModel(MMDistributedDataParallel):
    """mmengine's data-parallel model, also on CPUs: every process has the model, gradients are
    averaged.

    Parameters without gradient, those of a frozen backbone, are sent once, at the start. Buffers
    are not sent around:
    those of the loss weighting are sums of this process alone until it adds them up itself.

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
