"""A training whose stages are timed one by one."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler, pseudo_collate
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.runner import Runner
from speed_costs import count_bytes
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader

from m2h_mm.experiments.timing import StageClock
from m2h_mm.models import NetworkOutput
from m2h_mm.registry import MODELS

FORWARD, BACKWARD = 'network, forward', 'network, backward'


class StandIn:
    """Random outputs of a network's shapes, which the meta device tells, in channels-last memory if
    the network is.
    """

    def __init__(self, cfg: Config) -> None:
        with torch.device('meta'):
            self.model = MODELS.build(cfg.model)
        self.layout = torch.channels_last if self.model.channels_last else torch.contiguous_format

    def __call__(self, inputs: Tensor, tasks: Sequence[str] | None = None) -> NetworkOutput:
        with torch.no_grad(), _disable_current_modes():  # where bytes are counted, these are not
            outputs = self.model.run_network(inputs.to('meta'), tasks)[:2]  # not the features
            # Metres that are not 0, vectors that have a direction, or any logits.
            random = tree_map(
                lambda output: torch.empty_like(
                    output, device=inputs.device, memory_format=self.layout
                ).uniform_(0.5, 1.5),
                outputs,
            )
        return NetworkOutput(*random)


class DividedTraining(Hook):
    """Times the stages of the training it is a hook of, ``clock`` getting a round for each
    iteration.

    In the last iteration, which is not timed, the network is stood in for, and the bytes that all
    the rest reads and writes are counted: ``traffic``.

    Args:
        stand_in: of the network.
        skip_model: stand in for the network and its gradients throughout.
        host_only: make every parameter a single number, and every output 2x2.
    """

    priority = 'LOWEST'  # the guard is in its place before anything is watched

    def __init__(self, stand_in: StandIn, skip_model: bool, host_only: bool = False) -> None:
        self.clock = StageClock(get_device())
        self.stand_in, self.skip_model, self.host_only = stand_in, skip_model, host_only
        self.traffic = 0

    def before_train(self, runner: Runner) -> None:
        model, wrapper, self.loop, watch = (
            runner.model,
            runner.optim_wrapper,
            runner.train_loop,
            self.clock.watch,
        )
        if self.host_only:
            for parameter in model.parameters():
                parameter.data = parameter.data.new_zeros(1)
            for group in wrapper.optimizer.param_groups:
                if 'foreach' in group and not group.get('fused'):
                    group['foreach'] = True  # the default on a GPU
        self.gradients = [
            (parameter, torch.full_like(parameter, 1e-6))
            for parameter in model.parameters()
            if parameter.requires_grad
        ]
        self.network, self.loss_backward, self.iterate = (
            model.run_network,
            wrapper.backward,
            self.loop.run_iter,
        )
        model.run_network, wrapper.backward, self.loop.run_iter = (
            self.run_network,
            self.backward,
            self.run_iter,
        )
        watch(runner, 'call_hook', 'hooks, logs')
        watch(model, 'train_step', 'sum of losses, zeroing of gradients')
        watch(model.data_preprocessor, 'forward', 'to the device, normalise, stack')
        watch(model, 'loss', 'labels, losses, consistency, weighting')
        watch(wrapper, 'step', 'guard, clipping')
        watch(wrapper.optimizer, 'step', 'optimizer')

    def run_iter(self, batch: dict) -> None:
        self.clock.next_round()
        if self.loop.iter + 1 < self.loop.max_iters:
            self.iterate(batch)
            return
        self.skip_model = True
        self.traffic = count_bytes(lambda: self.iterate(batch))
        self.clock.rounds.pop()

    def run_network(self, inputs: Tensor, tasks: Sequence[str] | None = None) -> NetworkOutput:
        """The outputs, cut off the graph: the losses go backward by themselves, and then the
        network.
        """
        with self.clock.stage(FORWARD):
            # Without the features: no loss of these configs looks at them.
            outputs = (self.stand_in if self.skip_model else self.network)(inputs, tasks)[:2]
            if self.host_only:
                outputs = tree_map(lambda output: output[..., :2, :2], outputs)
        leaves = tree_map(lambda output: output.detach().requires_grad_(), outputs)
        self.cut = list(zip(tree_leaves(outputs), tree_leaves(leaves), strict=True))
        return NetworkOutput(*leaves)

    def backward(self, loss: Tensor, **kwargs) -> None:
        with self.clock.stage('losses, backward'):
            self.loss_backward(loss, **kwargs)
        with self.clock.stage(BACKWARD):
            if self.skip_model:
                for parameter, gradient in self.gradients:
                    parameter.grad = gradient
            else:
                torch.autograd.backward(
                    [output for output, _ in self.cut], [leaf.grad for _, leaf in self.cut]
                )


def train(cfg: Config, samples: Sequence[dict], iterations: int, hook: DividedTraining) -> None:
    """Iterations and one to warm up; nothing is kept of them."""
    cfg = copy.deepcopy(cfg)  # the runner writes its name into it
    loader = DataLoader(
        samples, len(samples), sampler=InfiniteSampler(samples, False), collate_fn=pseudo_collate
    )
    with tempfile.TemporaryDirectory() as folder:
        Runner(
            MODELS.build(cfg.model),
            folder,
            loader,
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations + 2),
            optim_wrapper=cfg.optim_wrapper,
            param_scheduler=cfg.param_scheduler,
            default_hooks=dict(cfg.default_hooks, checkpoint=None),
            custom_hooks=[hook],
            log_processor=cfg.log_processor,
            log_level='ERROR',
            visualizer=cfg.visualizer,
            env_cfg=cfg.env_cfg,
            default_scope='m2h_mm',
            experiment_name=f'stages_{time.time_ns()}',
        ).train()
