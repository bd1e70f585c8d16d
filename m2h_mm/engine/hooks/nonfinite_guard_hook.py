"""The guard against losses and gradients that are not finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel

from m2h_mm.engine.checkpoints import unwrap
from m2h_mm.engine.snapshot import describe_batch, random_state, write_snapshot
from m2h_mm.registry import HOOKS

ACTIONS = ('stop', 'skip')
NAMED = 8


@HOOKS.register_module()
class NonFiniteGuardHook(Hook):
    """Lets no loss or gradient that is NaN or infinite reach the weights, and keeps what is needed
    to find out why.

    The step is withheld between the backward pass and clipping, before weights or the optimizer's
    state are touched; then the training stops, or goes on with the next batch. Either way the log
    names the tasks, the frames and the iteration, and ``<work_dir>/nonfinite_iter_<n>.pt`` holds
    the batch, its losses, weights, optimizer and random state. ``m2h-mm replay-step`` takes
    the step again. Where the file cannot be written, that is said beside the rest.

    - A skipped step also undoes what the forward pass changed: running statistics of BatchNorm and
      the state of the weighting. Its losses do not enter the logged means. Schedule and sampler go
      on.
    - With accumulated gradients, the iterations of a step are kept or dropped together, and the
      snapshot has them all.
    - With loss scaling (float16) gradients that overflow are normal: the scaler skips the step and
      lowers the scale. It counts towards ``max_skips`` alone. A loss that is not finite is not the
      scale's doing and is treated as always.
    - In a distributed training all processes withhold a step together; those whose own losses were
      not finite report, or all, if it is the gradient alone. A sharded model (FSDP) leaves no
      snapshot.

    The check is one reduction over the gradients, and one number asked for per step at the point
    where clipping asks for one too. Part of ``default_hooks`` as ``guard``.

    Args:
        action (str): 'stop' (default) or 'skip'.
        max_skips (int): steps in a row that may be skipped, by this hook or by the loss scaler,
            before the training stops all the same. Default 20: a loss scale that starts at 65536 is
                then below 1.
        max_snapshots (int): files to keep of one start of the training, the first ones; default 3.

    Raises:
        ValueError: another action, numbers below 0; during training, what it is there for.
        TypeError: several optimizers.
    """

    # Before anybody logs the losses, averages or saves the weights.
    priority = 'HIGHEST'

    def __init__(self, action: str = 'stop', max_skips: int = 20, max_snapshots: int = 3) -> None:
        if action not in ACTIONS or max_skips < 0 or max_snapshots < 0:
            raise ValueError(
                f'default_hooks.guard: expected action in {ACTIONS}, max_skips and max_snapshots '
                f'of at least 0, got {action!r}, {max_skips} and {max_snapshots}.'
            )
        self.action = action
        self.max_skips = max_skips
        self.max_snapshots = max_snapshots
        self._steps: list[dict[str, Any]] = []  # the iterations since the last step
        self._loss_finite: Tensor | None = None
        self._verdict: tuple[bool, bool] | None = (
            None  # of the step just taken or withheld: loss, gradients finite?
        )
        self._bad_parameters: list[str] = []
        self._in_a_row = 0
        self._skipped = 0
        self._snapshots = 0
        self._replaced: dict[str, Callable] = {}
        self._statistics: list[Tensor] = []
        self._saved_statistics: list[Tensor] = []

    def before_train(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):
            raise TypeError(
                f'default_hooks.guard: expected one optimizer, got {type(wrapper).__name__}. Set '
                'default_hooks.guard=None.'
            )
        self._watch(wrapper, runner.model)
        self._statistics = [
            buffer
            for module in runner.model.modules()
            if isinstance(module, torch.nn.modules.batchnorm._NormBase)
            for buffer in module.buffers(recurse=False)
        ]
        self._saved_statistics = [buffer.clone() for buffer in self._statistics]

    def after_train(self, runner: Runner) -> None:
        self._release(runner)
        if self._skipped:
            runner.logger.warning(
                f'{self._skipped} steps were skipped since this start, because a loss or '
                'gradient was not finite.'
            )

    def _watch(self, wrapper: OptimWrapper, model: torch.nn.Module) -> None:
        """Stand between the wrapper, of whatever class, and its optimizer.

        mmengine calls no hook between backward pass and step; these methods are what every wrapper
        goes through.
        """
        context, backward, step = wrapper.optim_context, wrapper.backward, wrapper.step

        def watched_context(network: torch.nn.Module) -> AbstractContextManager:
            # Only now: a hook may have restored it after this one's turn.
            self._steps[-1]['random_state'] = random_state()
            return context(network)

        def watched_backward(loss: Tensor, **kwargs) -> None:
            finite = torch.isfinite(loss.detach())
            self._loss_finite = finite if self._loss_finite is None else self._loss_finite & finite
            backward(loss, **kwargs)

        @wraps(step)  # by its attributes, mmengine's schedulers know a step that they have wrapped
        def guarded_step(**kwargs) -> None:
            loss_finite, gradients_finite = self._verdict = self._check(wrapper)
            self._bad_parameters = []
            if loss_finite and (gradients_finite or hasattr(wrapper, 'loss_scaler')):
                step(**kwargs)
            elif not gradients_finite:
                self._bad_parameters = [
                    name
                    for name, parameter in model.named_parameters()
                    if parameter.grad is not None and not torch.isfinite(parameter.grad).all()
                ]

        self._replaced = dict(optim_context=context, backward=backward, step=step)
        wrapper.optim_context, wrapper.backward, wrapper.step = (
            watched_context,
            watched_backward,
            guarded_step,
        )

    def _release(self, runner: Runner) -> None:
        for name, method in self._replaced.items():
            setattr(runner.optim_wrapper, name, method)

    def _check(self, wrapper: OptimWrapper) -> tuple[bool, bool]:
        """Whether losses since the last step and gradients are finite, in all processes."""
        gradients = [
            parameter.grad
            for group in wrapper.optimizer.param_groups
            for parameter in group['params']
            if parameter.grad is not None
        ]
        norms = (
            torch._foreach_norm(gradients)
            if gradients
            else [self._loss_finite.new_zeros((), dtype=torch.float)]
        )
        flags = torch.stack([self._loss_finite, torch.isfinite(torch.stack(norms)).all()]).float()
        all_reduce(flags, op='min')
        loss_finite, gradients_finite = flags.tolist()
        return bool(loss_finite), bool(gradients_finite)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Mapping | None = None
    ) -> None:
        weighting = unwrap(runner.model).weighting
        # Buffers that checkpoints leave out, and all that they hold.
        state = {**dict(weighting.named_buffers()), **weighting.state_dict()}
        if not self._steps and self._statistics:
            torch._foreach_copy_(self._saved_statistics, self._statistics)
        self._steps.append(
            dict(
                batch=data_batch,
                weighting={name: value.clone() for name, value in state.items()},
            )
        )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Mapping | None = None,
        outputs: dict | None = None,
    ) -> None:
        self._steps[-1]['losses'] = {key: value.detach() for key, value in outputs.items()}
        if self._verdict is None:
            return
        (loss_finite, gradients_finite), self._verdict, self._loss_finite = (
            self._verdict,
            None,
            None,
        )
        steps, self._steps = self._steps, []
        if loss_finite and gradients_finite:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        is_scalers = loss_finite and hasattr(runner.optim_wrapper, 'loss_scaler')
        if is_scalers and self._in_a_row <= self.max_skips:
            return
        bad = [_not_finite(step['losses']) for step in steps]
        elsewhere = not loss_finite and not any(bad)
        number = runner.iter + 1
        found = (
            f'Iteration {number}: a loss is not finite in another process, which reports it.'
            if elsewhere
            else self._report(runner, steps, bad, loss_finite)
        )
        # At once: nothing that goes wrong from here on, such as a full disk, may hide it.
        runner.logger.error(found)
        self._undo(runner, steps)
        snapshot = '' if elsewhere else self._write(runner, steps, number)
        if self.action == 'stop' or self._in_a_row > self.max_skips:
            self._release(runner)
            why = (
                ''
                if self.action == 'stop' and not is_scalers
                else (
                    f' That was step {self._in_a_row} in a row, and at most {self.max_skips} may '
                    'be skipped (default_hooks.guard.max_skips).'
                )
            )
            raise ValueError(
                f'{found}{snapshot}{why}\nThe weights are those before that step. Look at the '
                'frames and at the '
                "learning rate; default_hooks.guard.action='skip' goes on with the "
                'next batch instead.'
            )
        self._skipped += 1
        outputs.clear()  # a NaN would stay in the logged means for the whole window
        runner.logger.error(
            f'The step was skipped; {self._skipped} were since this start.{snapshot}'
        )

    def _undo(self, runner: Runner, steps: Sequence[dict]) -> None:
        if self._statistics:
            torch._foreach_copy_(self._statistics, self._saved_statistics)
        unwrap(runner.model).weighting.load_state_dict(steps[0]['weighting'], strict=False)

    def _report(
        self, runner: Runner, steps: Sequence[dict], bad: Sequence[list[str]], loss_finite: bool
    ) -> str:
        """What happened, in words."""
        names = sorted({key for keys in bad for key in keys if key != 'loss'}) or ['loss']
        guilty = [step for step, keys in zip(steps, bad, strict=True) if keys] or steps
        tasks = [
            name
            for name in unwrap(runner.model).tasks
            if f'raw_{name}' in names
            or f'loss_{name}' in names
            or loss_finite
            and any(f'heads.{name}.' in parameter for parameter in self._bad_parameters)
        ]
        what = (
            f'the loss is not finite: {", ".join(names)}'
            if not loss_finite
            else f'the losses are finite, but the gradient of {len(self._bad_parameters)} '
            'parameters is not, such as '
            f'{self._bad_parameters[:3]}'
            if self._bad_parameters
            else 'the losses are finite, but the scaled gradient overflows however small the scale'
        )
        frames = [_describe(sample) for step in guilty for sample in step['batch']['data_samples']]
        more = f'\n    and {len(frames) - NAMED} more' if len(frames) > NAMED else ''
        lines = [
            f'Iteration {runner.iter + 1}: {what}.',
            f'  tasks: {", ".join(tasks) or "none alone"}',
            '  frames:',
            *(f'    {frame}' for frame in frames[:NAMED]),
        ]
        return '\n'.join(lines) + more

    def _write(self, runner: Runner, steps: Sequence[dict], number: int) -> str:
        """Write the snapshot; a line that says how to use it, or why there is none."""
        # No process has all of a sharded model's weights.
        if self._snapshots >= self.max_snapshots or isinstance(
            runner.model, FullyShardedDataParallel
        ):
            return ''
        self._snapshots += 1
        rank = f'_rank{get_rank()}' if get_rank() else ''
        path = Path(runner.work_dir, f'nonfinite_iter_{number}{rank}.pt')
        content = dict(
            iteration=number,
            losses=[{key: float(value) for key, value in step['losses'].items()} for step in steps],
            steps=[
                dict(
                    batch=describe_batch(step['batch']),
                    random_state=step['random_state'],
                    weighting=step['weighting'],
                )
                for step in steps
            ],
            state_dict=unwrap(runner.model).state_dict(),
            optimizer=runner.optim_wrapper.state_dict(),
        )
        try:
            write_snapshot(path, content)
        except OSError as error:
            return f'\n  There is no snapshot of this step: {error.strerror or error}'
        config = Path(runner.work_dir, Path(runner.cfg.filename or f'{runner.timestamp}.py').name)
        return f'\n  To take this step again: m2h-mm replay-step {config} {path}'


def _not_finite(losses: Mapping[str, Tensor]) -> list[str]:
    return [key for key, value in losses.items() if not bool(torch.isfinite(value).all())]


def _describe(sample: Any) -> str:
    name = sample.get('frame_id', '?')
    # In a mixture the data set's name is part of the frame's already.
    return f'{name} ({sample.get("img_path", "no file")})'
