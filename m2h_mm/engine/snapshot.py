"""A training step on disk: all that is needed to take it again."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor, nn

from m2h_mm.engine.training_state import is_count, is_random_state, is_state
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.system import write_atomically


def random_state() -> dict[str, Tensor]:
    """The state of torch's random number generators, of the CPU and of the GPU in use."""
    state = dict(cpu=torch.get_rng_state())
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: Mapping[str, Tensor]) -> None:
    """Undo what happened since :func:`random_state`; a GPU's state is left out where there is no
    GPU; states may have been loaded onto one.
    """
    torch.set_rng_state(state['cpu'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def describe_batch(batch: Mapping[str, Any]) -> dict[str, list]:
    """A batch as the data loader yields it, as tensors and plain values, which load without running
    code.
    """
    samples = [
        dict(
            metainfo={key: _plain(value) for key, value in sample.metainfo_items()},
            fields={
                key: dict(value.items())  # the map, and of a label the mask too
                for key, value in sample.items()
                if isinstance(value, PixelData)
            },
        )
        for sample in batch['data_samples']
    ]
    return dict(inputs=list(batch['inputs']), data_samples=samples)


def rebuild_batch(stored: Mapping[str, list]) -> dict[str, list]:
    """What :func:`describe_batch` was given."""
    samples = []
    for entry in stored['data_samples']:
        sample = MultiTaskDataSample(metainfo=entry['metainfo'])
        for name, maps in entry['fields'].items():
            sample.set_field(PixelData(**maps), name)
        samples.append(sample)
    return dict(inputs=list(stored['inputs']), data_samples=samples)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, (Tensor, str, int, float, bool, type(None))) else str(value)


def write_snapshot(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values; the file is whole or not there."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    write_atomically(path, buffer.getvalue())


@dataclass
class Replay:
    """What came of a step that was taken again.

    Attributes:
        losses: what the model logs, one dict for each iteration whose gradients the step adds up.
        frames: by iteration, of each frame alone: the losses that are not finite.
        module: the first module, in the order of the forward pass, with an output that is not
            finite, or None.
        parameters: those whose gradient is not finite.
    """

    losses: list[dict[str, float]]
    frames: list[list[list[str]]]
    module: str | None
    parameters: list[str]


def replay(
    model: BaseModel, snapshot: Mapping[str, Any], context: Callable[[], AbstractContextManager]
) -> Replay:
    """Take the forward and backward pass of a snapshot again; weights are not changed.

    Args:
        model: of the training's config; gets the snapshot's weights.
        snapshot: what :class:`NonFiniteGuardHook` wrote.
        context: gives what a forward pass runs in, such as the optimizer wrapper's
            ``optim_context``.

    Raises:
        ValueError: the file is something else, or belongs to another model.
    """
    require_snapshot(snapshot)
    try:
        model.load_state_dict(snapshot['state_dict'])
    except RuntimeError as error:
        raise ValueError(
            f"The snapshot does not fit the config's model: {error}. Use the config that the "
            'training wrote into its work dir.'
        ) from error
    try:
        return _replay(model, snapshot, context)
    except Exception as error:  # whatever values of somebody else's snapshot lead to
        raise ValueError(
            f'The step of the snapshot cannot be taken again: {error!r}. Use the config that the '
            'training wrote into its work dir.'
        ) from error


def require_snapshot(snapshot: Any) -> None:
    """Refuse what :class:`NonFiniteGuardHook` has not written.

    Raises:
        ValueError: it is something else, or a part of it has another form.
    """
    wanted = {'iteration', 'steps', 'losses', 'state_dict'}
    if not isinstance(snapshot, Mapping) or not wanted <= snapshot.keys():
        found = sorted(map(str, snapshot))[:5] if isinstance(snapshot, Mapping) else type(snapshot)
        raise ValueError(
            f'Expected a snapshot of a training step, got a file with {found}. '
            'Those of NonFiniteGuardHook are named nonfinite_iter_<n>.pt.'
        )
    steps, losses = snapshot['steps'], snapshot['losses']
    whole = (
        is_count(snapshot['iteration'])
        and is_state(snapshot['state_dict'])
        and isinstance(steps, list)
        and isinstance(losses, list)
        and 0 < len(steps) == len(losses)
        and all(isinstance(each, Mapping) for each in losses)
        and all(isinstance(value, float) for each in losses for value in each.values())
        and all(map(_is_step, steps))
    )
    if not whole:
        raise ValueError(
            'The snapshot is damaged: its iteration, steps, losses and state_dict are not of the '
            'form that NonFiniteGuardHook writes.'
        )


def _is_step(step: Any) -> bool:
    if not isinstance(step, Mapping) or not isinstance(step.get('batch'), Mapping):
        return False
    inputs, samples = (step['batch'].get(key) for key in ('inputs', 'data_samples'))
    return (
        is_random_state(step.get('random_state'))
        and is_state(step.get('weighting'))
        and isinstance(inputs, list)
        and isinstance(samples, list)
        and 0 < len(inputs) == len(samples)
        and all(isinstance(image, Tensor) for image in inputs)
        and all(
            isinstance(sample, Mapping)
            and isinstance(sample.get('metainfo'), Mapping)
            and isinstance(sample.get('fields'), Mapping)
            and all(map(is_state, sample['fields'].values()))
            for sample in samples
        )
    )


def _replay(
    model: BaseModel, snapshot: Mapping[str, Any], context: Callable[[], AbstractContextManager]
) -> Replay:
    model.train().zero_grad()
    found = Replay([], [], None, [])
    for step in snapshot['steps']:
        total, logged = model.parse_losses(_take_again(model, step, context))
        (total / len(snapshot['steps'])).backward()
        found.losses.append({key: float(value.detach()) for key, value in logged.items()})
    found.parameters = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all()
    ]
    found.module = _first_bad_module(model, snapshot['steps'], context)
    for step in snapshot['steps']:
        batch = rebuild_batch(step['batch'])
        found.frames.append(
            [_bad_alone(model, batch, index, context) for index in range(len(batch['inputs']))]
        )
    return found


def _take_again(
    model: BaseModel, step: Mapping[str, Any], context: Callable[[], AbstractContextManager]
) -> dict[str, Tensor]:
    """The losses of one iteration, with its random numbers and the weighting of that time."""
    restore_random_state(step['random_state'])
    model.weighting.load_state_dict(step['weighting'], strict=False)
    return _losses(model, rebuild_batch(step['batch']), context)


@torch.no_grad()
def _first_bad_module(
    model: BaseModel,
    steps: Sequence[Mapping[str, Any]],
    context: Callable[[], AbstractContextManager],
) -> str | None:
    """The first module, in the order of the forward pass, with an output that is not finite.

    A forward pass of its own: a module that is looked at computes in its plain form, which rounds
    differently.
    """
    bad: list[str] = []

    def look_at(name: str) -> Callable:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if not bad and not all(torch.isfinite(part).all() for part in _tensors(output)):
                bad.append(name)

        return look

    hooks = [
        module.register_forward_hook(look_at(name))
        for name, module in model.named_modules()
        if name
    ]
    for step in steps:
        _take_again(model, step, context)
    for hook in hooks:
        hook.remove()
    return bad[0] if bad else None


def _losses(
    model: BaseModel, batch: dict, context: Callable[[], AbstractContextManager]
) -> dict[str, Tensor]:
    with context():
        return model(**model.data_preprocessor(batch, True), mode='loss')


def _bad_alone(
    model: BaseModel,
    batch: Mapping[str, Sequence],
    index: int,
    context: Callable[[], AbstractContextManager],
) -> list[str]:
    one = {key: list(values)[index : index + 1] for key, values in batch.items()}
    with torch.no_grad():
        return [
            key
            for key, value in _losses(model, one, context).items()
            if not torch.isfinite(value).all()
        ]


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    values = (
        vars(output).values()
        if hasattr(output, '__dataclass_fields__')
        else (
            output.values()
            if isinstance(output, Mapping)
            else output
            if isinstance(output, (list, tuple))
            else ()
        )
    )
    return [tensor for value in values for tensor in _tensors(value)]
