"""Where the time of a call goes: kinds of operations by parts of the model."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

# By the first kind that has a word in the operation's name: an upsampling is bilinear, but not
# linear.
KINDS = {
    'attention': ('scaled_dot_product', 'flash_attention', 'efficient_attention'),
    'convolution': ('conv',),
    'norm': ('batch_norm', 'layer_norm', 'group_norm', 'linalg_vector_norm'),
    'resize and pool': ('upsample', 'pool'),
    'linear': ('addmm', '::mm', 'bmm', 'linear', 'matmul'),
    'copy': (
        'copy',
        'clone',
        'contiguous',
        'aten::cat',
        'stack',
        'pad',
        'roll',
        'index',
        'fill_',
        'zero',
        'reorder',
        'slice_backward',
        'select_backward',
    ),
    'softmax and reductions': ('softmax', 'sum', 'mean', 'max', 'min'),
    'pointwise': (
        'relu',
        'gelu',
        'add',
        'mul',
        'sub',
        'div',
        'sigmoid',
        'tanh',
        'threshold',
        'where',
        'exp',
        'log',
        'clamp',
        'lerp',
        'sqrt',
        'neg',
        'pow',
        'abs',
    ),
}
PARTS = ('backbone', 'neck', 'decoder', 'heads', 'losses', 'consistency', 'weighting')
OPTIMIZER, OTHER = 'optimizer', 'other'
_SPAN = 'part: '


def kind_of(operation: str) -> str:
    """The kind of an operation such as ``aten::convolution_backward``."""
    return next(
        (kind for kind, words in KINDS.items() if any(word in operation for word in words)), OTHER
    )


@contextmanager
def named_parts(model: nn.Module) -> Any:
    """While it lasts, calls of the model's parts and of what they hold directly are spans of a
    profile.
    """
    spans: list[record_function] = []

    def begin(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            spans.append(record_function(_SPAN + name))
            spans[-1].__enter__()

        return hook

    def end(*_: Any) -> None:
        spans.pop().__exit__(None, None, None)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            levels = name.split('.')
            depth = 1 if levels[0] in ('backbone', 'neck') else 3
            if levels[0] not in PARTS or len(levels) > depth:
                continue
            # A container is never called itself, only what is in it.
            label = '.'.join(levels[:2]) if levels[0] in ('decoder', 'heads') else levels[0]
            for handle in (
                module.register_forward_pre_hook(begin(label)),
                module.register_forward_hook(end, always_call=True),
            ):
                stack.callback(handle.remove)
        yield


def shares(
    model: nn.Module, call: Callable[[], Any], device: str, repeats: int
) -> list[dict[str, Any]]:
    """Time by part, direction and kind.

    An operation belongs to the innermost part that called it; one of the backward pass to the part
    of the forward operation that it is the gradient of.

    Args:
        model: whose parts are told apart.
        call: what is profiled; it has been called before.
        device: where it works.
        repeats: calls.

    Returns:
        Rows ``part``, ``direction`` (``'forward'`` or ``'backward'``), ``kind``, ``seconds`` of a
        call, ``calls`` of operations in it.
    """
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # the start of a profile is announced otherwise
    cuda = torch.device(device).type == 'cuda'
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with named_parts(model), profile(activities=activities) as record:
        for _ in range(repeats):
            call()
    events = sorted(record.events(), key=lambda event: event.time_range.start)
    part_of_node = {
        event.sequence_nr: _enclosing(event)
        for event in events
        if event.sequence_nr >= 0 and not event.scope and _enclosing(event)
    }
    found: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0.0, 0])
    for event in events:
        time = event.self_device_time_total if cuda else event.self_cpu_time_total
        if event.name.startswith((_SPAN, 'ProfilerStep')) or not time:
            continue
        node = _backward_node(event)
        part = _enclosing(event) or (part_of_node.get(node, OTHER) if node is not None else OTHER)
        cell = found[part, 'forward' if node is None else 'backward', kind_of(event.name)]
        cell[0] += time / 1e6 / repeats
        cell[1] += 1 / repeats
    return [
        dict(part=part, direction=direction, kind=kind, seconds=seconds, calls=calls)
        for (part, direction, kind), (seconds, calls) in found.items()
    ]


def _ancestors(event: Any) -> Any:
    while event is not None:
        yield event
        event = event.cpu_parent


def _enclosing(event: Any) -> str | None:
    for ancestor in _ancestors(event):
        if ancestor.name.startswith(_SPAN):
            return ancestor.name.removeprefix(_SPAN)
        if ancestor.name.startswith('Optimizer.'):
            return OPTIMIZER
    return None


def _backward_node(event: Any) -> int | None:
    """Number of the forward operation whose gradient an operation is part of; None outside the
    backward pass.
    """
    return next(
        (ancestor.sequence_nr for ancestor in _ancestors(event) if ancestor.scope == 1), None
    )


def table_of(rows: list[Mapping[str, Any]]) -> tuple[list[str], list[tuple[str, dict[str, float]]]]:
    """Kinds, most expensive first, and for each part and direction the share of each kind, in all
    time.
    """
    total = sum(row['seconds'] for row in rows)
    by_kind: dict[str, float] = defaultdict(float)
    by_part: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    backward = any(row['direction'] == 'backward' for row in rows)
    for row in rows:
        share = row['seconds'] / total
        by_kind[row['kind']] += share
        name = (
            f'{row["part"]}, {row["direction"]}'
            if backward and row['part'] != OPTIMIZER
            else row['part']
        )
        by_part[name][row['kind']] += share
    kinds = sorted(by_kind, key=by_kind.get, reverse=True)
    return kinds, sorted(by_part.items(), key=lambda item: -sum(item[1].values()))
