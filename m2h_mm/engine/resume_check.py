"""What differs between a checkpoint and the training that is to go on from it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim import Optimizer

from m2h_mm.engine.base_weights import left_out
from m2h_mm.engine.checkpoints import compare_weights, unwrap
from m2h_mm.engine.model_description import META_KEY
from m2h_mm.engine.training_state import is_number, optimizers

OPTIMIZER = 'optimizer'
"""Under this key of ``meta`` stands the class of the optimizer, by name where there are several."""
# Arguments of optimizers that older versions of torch do not write.
_LATER = {'amsgrad', 'maximize', 'foreach', 'capturable', 'differentiable', 'fused', 'nesterov'}
# What an optimizer does with a gradient; in which code, a run may choose anew.
_SAME = ('maximize', 'amsgrad', 'nesterov', 'differentiable', 'capturable')
_SHOWN = 3


def find_differences(
    runner: Runner, content: Mapping[str, Any], description: Mapping[str, Any] | None
) -> list[str]:
    """What of a well-formed checkpoint does not fit the training; empty if it can go on.

    Compared are tasks and numbers of classes, the iteration, names and shapes of the weights, and
    the states of optimizers and schedulers, which would be loaded as they are: in native code, one
    of another shape ends the process.

    Args:
        runner: built, nothing loaded yet.
        content: without anything that
            :func:`~m2h_mm.engine.training_state.find_malformed` finds.
        description: of the config's model, as it will be in checkpoints; None where there is none.
    """
    found = [*_tasks(content, description), *_progress(runner, content)]
    if not isinstance(runner, Runner):  # weights and states are divided among processes
        return found
    base = left_out(content)
    own = unwrap(runner.model).state_dict()
    own = {key: value for key, value in own.items() if key not in base}
    state = {key.removeprefix('module.'): value for key, value in content['state_dict'].items()}
    found += [f'weights: {difference}' for difference in compare_weights(own, state)]
    found += _average(runner, own, content.get('ema_state_dict'))
    found += _optimizers(runner.optim_wrapper, content)
    return found + _all_schedulers(runner.param_schedulers, content.get('param_schedulers'))


def optimizer_names(wrapper: Any) -> dict[str, str]:
    """The class of each optimizer by its name; one alone has none."""
    return {name: type(each.optimizer).__name__ for name, each in _wrappers(wrapper).items()}


def _tasks(content: Mapping, description: Mapping | None) -> list[str]:
    stored = content['meta'].get(META_KEY)
    theirs = stored.get('tasks') if isinstance(stored, Mapping) else None
    if description is None or not isinstance(theirs, Mapping):
        return []
    ours = description['tasks']
    if list(theirs) != list(ours):
        return [f'tasks: {list(map(str, theirs))}, the config has {list(ours)}']
    classes = {
        name: [
            tasks[name].get('num_classes') if isinstance(tasks[name], Mapping) else None
            for tasks in (theirs, ours)
        ]
        for name in ours
    }
    return [
        f'tasks.{name}.num_classes: {then!r}, the config has {now!r}'
        for name, (then, now) in classes.items()
        if then != now
    ]


def _average(
    runner: Runner, own: Mapping[str, Tensor], stored: Mapping[str, Tensor] | None
) -> list[str]:
    if stored is None or not any(isinstance(hook, EMAHook) for hook in runner.hooks):
        return []
    state = {
        key.removeprefix('module.'): value
        for key, value in stored.items()
        if key.startswith('module.')
    }
    found = [f'moving average: {difference}' for difference in compare_weights(own, state)]
    if 'steps' in stored and not is_number(stored['steps']):
        found.append('moving average: its steps are no number')
    return found


def _progress(runner: Runner, content: Mapping) -> list[str]:
    loop, meta = runner.train_loop, content['meta']
    done, limit = (
        ('iter', 'max_iters')
        if hasattr(loop, '_max_iters') and not _by_epoch(loop)
        else ('epoch', 'max_epochs')
    )
    last = getattr(loop, limit, None)
    if last is None or meta[done] <= last:
        return []
    return [f'{done}: it has done {meta[done]}, the config ends at train_cfg.{limit}={last}']


def _by_epoch(loop: Any) -> bool:
    return getattr(loop, 'max_epochs', 1) > 1


def _wrappers(wrapper: Any) -> dict[str, OptimWrapper]:
    if isinstance(wrapper, OptimWrapperDict):
        return dict(wrapper.items())
    return {'': wrapper} if isinstance(wrapper, OptimWrapper) else {}


def _optimizers(wrapper: Any, content: Mapping) -> list[str]:
    wrappers, states = _wrappers(wrapper), optimizers(content)
    if not states:  # such as the best ones, which are kept without
        return []
    if wrappers.keys() != states.keys():
        return [f'optimizers: {list(states)}, the config has {list(wrappers)}']
    kinds = content['meta'].get(OPTIMIZER)
    kinds = kinds if isinstance(kinds, Mapping) else {}
    found = []
    for name, each in wrappers.items():
        title = f'optimizer {name}'.strip()
        found += [
            f'{title}: {difference}'
            for difference in compare_optimizer(each.optimizer, states[name], kinds.get(name))
        ]
        scaler, stored = getattr(each, 'loss_scaler', None), states[name].get('loss_scaler')
        if scaler is not None and stored is not None and not _alike(stored, scaler.state_dict()):
            found += [f'{title}: its loss_scaler holds other values than numbers']
    return found


def compare_optimizer(optimizer: Optimizer, state: Mapping, kind: Any = None) -> list[str]:
    """What of a stored state does not fit an optimizer; empty if it can be loaded.

    Args:
        optimizer: of the config, built.
        state: ``state_dict()`` of that of the checkpoint.
        kind: the name of its class, if it is known.
    """
    own, theirs = optimizer.param_groups, state['param_groups']
    name = type(optimizer).__name__
    if kind is not None and kind != name:
        return [f'{str(kind)[:40]}, the config has {name}']
    arguments = {key for key in inspect.signature(type(optimizer)).parameters if key in own[0]}
    lacking = sorted(key for key in arguments - _LATER if any(key not in each for each in theirs))
    if lacking:
        return [f'its groups have no {", ".join(lacking)}: it is no {name}, as the config has']
    sizes, ours = [[len(group['params']) for group in groups] for groups in (theirs, own)]
    if sizes != ours:
        return [
            f'{len(sizes)} groups of {sum(sizes)} parameters, the config has {len(ours)} of '
            f'{sum(ours)}'
        ]
    for index, (stored, group) in enumerate(zip(theirs, own, strict=True)):
        odd = [
            key
            for key, value in stored.items()
            if key != 'params' and key in group and not _alike(value, group[key])
        ]
        if odd:
            return [f'group {index}: {", ".join(odd)} cannot be of {name}']
        other = [key for key in _SAME if key in group and stored.get(key, False) != group[key]]
        if other:
            key = other[0]
            return [f'group {index}: {key} {stored.get(key)!r}, the config has {group[key]!r}']
    names = _expected(optimizer)
    numbers = chain.from_iterable(group['params'] for group in theirs)
    parameters = chain.from_iterable(group['params'] for group in own)
    found = [
        f'state {problem}'
        for number, parameter in zip(numbers, parameters, strict=True)
        for problem in _compare_state(state['state'].get(number), parameter, names, number)
    ]
    return found[:_SHOWN]


def _expected(optimizer: Optimizer) -> dict[str, str]:
    """The kind of each value that an optimizer keeps of a parameter: ``map``, of its shape,
    ``number`` or ``any``; learned from one of the same class, by a step.
    """
    options = {
        key: value
        for key, value in optimizer.param_groups[0].items()
        if key in inspect.signature(type(optimizer)).parameters and key != 'params'
    }
    parameter = nn.Parameter(torch.zeros(2, 3))
    parameter.grad = torch.ones(2, 3)
    try:
        twin = type(optimizer)([parameter], **options)
        twin.step()
    except Exception:  # one that needs more than this, such as a GPU
        return {}
    kinds = {}
    for key, value in twin.state[parameter].items():
        of_shape = isinstance(value, Tensor) and value.shape == parameter.shape
        kinds[key] = 'map' if of_shape else 'number' if is_number(value) else 'any'
    return kinds


def _compare_state(
    stored: Mapping | None, parameter: Tensor, names: Mapping[str, str], number: int
) -> list[str]:
    if not stored:  # of one that has not been trained
        return []
    lacking = [key for key in names if key not in stored]
    if lacking:
        return [f'of parameter {number}: no {", ".join(lacking)}']
    found = []
    for key, value in stored.items():
        kind = names.get(key, 'any')
        if kind == 'number' and not (is_number(value) and value >= 0):
            found.append(f'of parameter {number}: {str(key)[:40]} is no number from 0')
        elif kind == 'map' and not _is_map(value, parameter):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            found.append(
                f'of parameter {number}: {str(key)[:40]} {shape} for {tuple(parameter.shape)}'
            )
    return found


def _is_map(value: Any, parameter: Tensor) -> bool:
    return (
        isinstance(value, Tensor)
        and value.shape == parameter.shape
        and value.layout == torch.strided
        and value.is_floating_point()
    )


def _all_schedulers(own: Any, stored: Any) -> list[str]:
    if own is None or stored is None:
        return []
    if isinstance(own, Mapping) != isinstance(stored, Mapping):
        return ['param_scheduler: of one optimizer, where the other is of several']
    if not isinstance(own, Mapping):
        return _schedulers(own, stored)
    if own.keys() != stored.keys():
        return [f'param_scheduler: of {list(stored)}, the config has {list(own)}']
    return [line for name in own for line in _schedulers(own[name], stored[name])]


def _schedulers(own: Sequence, stored: Sequence[Mapping]) -> list[str]:
    if len(own) != len(stored):
        return [f'param_scheduler: {len(stored)} of them, the config has {len(own)}']
    found = []
    for index, (scheduler, state) in enumerate(zip(own, stored, strict=True)):
        name, now = type(scheduler).__name__, scheduler.state_dict()
        odd = [
            str(key)[:40]
            for key in {**now, **state}
            if key not in now or key not in state or not _alike(state[key], now[key])
        ]
        if not odd and len(state.get('base_values', ())) != len(now.get('base_values', ())):
            odd.append('base_values')
        if odd:
            found.append(
                f'param_scheduler[{index}]: {", ".join(odd[:_SHOWN])} cannot be of the '
                f"config's {name}"
            )
    return found


def _alike(stored: Any, own: Any) -> bool:
    """Whether a value can stand in the place of another: a number in that of a number, ..."""
    if own is None:
        return stored is None or isinstance(stored, (bool, str)) or is_number(stored)
    if stored is None:
        return isinstance(own, bool)
    if isinstance(own, bool):
        return isinstance(stored, bool)
    if is_number(own):
        return is_number(stored)
    if isinstance(own, Mapping):
        return isinstance(stored, Mapping) and all(map(is_number, stored.values())) == all(
            map(is_number, own.values())
        )
    if isinstance(own, (list, tuple)):
        return (
            isinstance(stored, (list, tuple))
            and (isinstance(own, list) or len(stored) == len(own))
            and (not own or all(_alike(item, own[0]) for item in stored))
        )
    return isinstance(stored, type(own))
