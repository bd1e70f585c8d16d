"""What a call costs beside time, and what the machine could do at best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from math import prod
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from speed_models import DTYPES, Cell, build_call, build_model, build_optimizer, input_size
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from m2h_mm.experiments.timing import peak_memory
from m2h_mm.system.processes import end_with_parent

SMALLEST = (28, 28)  # an image that costs next to nothing, to warm a process up


def machine_limits(device: str, dtype: str) -> dict[str, tuple[Callable[[], Any], int]]:
    """What a machine does at its best: calls, to be timed beside others, and the amount that each
    of them gets done.

    Args:
        device: where.
        dtype: of the matrix product.

    Returns:
        ``product``, of large matrices, and its operations; ``copy``, of a large memory, and the
        bytes that it reads and writes.
    """
    side, count = (8192, 2**30) if torch.device(device).type == 'cuda' else (2048, 2**28)
    a, b = (torch.randn(side, side, device=device).to(DTYPES[dtype]) for _ in range(2))
    source = torch.ones(count, dtype=torch.uint8, device=device)
    target = source.clone()
    return dict(
        product=(lambda: a @ b, 2 * side**3), copy=(lambda: target.copy_(source), 2 * count)
    )


def count_flops(model: nn.Module, cell: Cell) -> int:
    """Floating point operations of a call; of a training step, those of the network forward and
    backward.

    As :func:`m2h_mm.experiments.complexity.count_flops` counts them, on the meta device, two per
    multiply-add, attention as plain products.
    """
    # PyTorch's own formula of a convolution's backward pass forgets the groups.
    formulas = {torch.ops.aten.convolution_backward: _conv_backward_flops}
    state = {
        key: torch.zeros_like(tensor, device='meta').requires_grad_(tensor.requires_grad)
        for key, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    train = cell.action == 'train'
    with (
        torch.set_grad_enabled(train),
        torch.device('meta'),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False, custom_mapping=formulas) as counter,
    ):
        image = torch.zeros(cell.batch_size, 3, *input_size(model, cell))
        outputs = functional_call(model, state, (image,), dict(mode='tensor'))
        if train:
            sum(output.sum() for output in outputs.values()).backward()
    return counter.get_total_flops()


def _conv_backward_flops(
    gradient: Sequence[int],
    inputs: Sequence[int],
    weight: Sequence[int],
    *options: Any,
    out_shape: Any,
) -> int:
    """As many as forward for each gradient that is wanted, of the input and of the weight."""
    *_, transposed, _, _, wanted = options
    return sum(wanted[:2]) * conv_flop_count(
        list(inputs), list(weight), list(gradient), transposed=transposed
    )


class _Traffic(TorchDispatchMode):
    """Adds up the bytes that operations read and write, each operation by itself: as if nothing
    stayed in a cache.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Mapping | None = None
    ) -> Any:
        kwargs = kwargs or {}
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        result = func(*args, **kwargs)
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        storages = {tensor.untyped_storage()._cdata for tensor in read}
        fresh = [tensor for tensor in written if tensor.untyped_storage()._cdata not in storages]
        if func._schema.is_mutable:
            fresh += written or read[:1]
        if func.__name__.startswith(('copy_', 'fill_', 'zero_')):  # the target is not read
            read = read[1:]
        if fresh and not func.__name__.startswith(('empty', 'new_empty')):  # otherwise it is a view
            self.bytes += sum(map(_bytes, read + fresh))
        return result


def _bytes(tensor: Tensor) -> int:
    """Of the distinct elements: an expanded tensor is read once."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return prod(sizes) * tensor.element_size()


def count_bytes(call: Callable[[], Any]) -> int:
    """Bytes that a call's operations read and write in the memory, counted while it runs."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # hides its operations in one
    try:
        with _Traffic() as traffic:
            call()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return traffic.bytes


def contender_memory(cell: Cell, contender: str) -> int:
    """Peak of the memory in bytes that a call takes beyond the weights and the optimizer's state.

    On the CPU it is the growth of the resident memory, in a process of its own: what an earlier
    call has left would be taken again without growth. On CUDA, see
    :func:`m2h_mm.experiments.timing.peak_memory`.
    """
    if torch.device(cell.device).type == 'cuda':
        return _memory(cell, contender, torch.get_num_threads())
    with ProcessPoolExecutor(1, get_context('spawn'), end_with_parent) as pool:
        return pool.submit(_memory, cell, contender, torch.get_num_threads()).result()


def _memory(cell: Cell, contender: str, threads: int) -> int:
    torch.set_num_threads(threads)
    model = build_model(cell, contender)
    optimizer = build_optimizer(model)
    call = build_call(model, cell, optimizer, contender)
    if torch.device(cell.device).type == 'cuda':
        call()
        return peak_memory(call, cell.device)
    build_call(
        model, replace(cell, size=SMALLEST), optimizer, contender
    )()  # libraries are loaded, the optimizer has its state
    return _resident_growth(call)


def _resident_growth(call: Callable[[], Any]) -> int:
    Path('/proc/self/clear_refs').write_text('5')  # the peak starts anew
    before = _status('VmRSS')
    call()
    return _status('VmHWM') - before


def _status(field: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))
