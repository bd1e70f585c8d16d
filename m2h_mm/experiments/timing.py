"""Time and peak memory of calls, measured in turn so that their ratios hold."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from time import perf_counter, process_time
from typing import Any

import torch
from torch.autograd.profiler import profile

_ALLOCATION = '[memory]'
_CPU_EXHAUSTED = ("can't allocate memory", 'not enough memory')


def time_calls(
    functions: Mapping[str, Callable[[], Any]],
    repeats: int = 20,
    warmup: int = 3,
    device: str | torch.device = 'cpu',
    clock: Callable[[], float] = perf_counter,
) -> dict[str, list[float]]:
    """Time several functions in turn (A B A B ...), so that what slows the machine down for a while
    slows all of them.

    Each call is timed from an idle device to an idle device. The i-th times of all functions belong
    to one round: a ratio is best taken within rounds.

    Args:
        functions: name to a function without arguments.
        repeats: timed rounds, at least 1.
        warmup: rounds before them that are not timed (lazy initialisation, choice of kernels,
            compilation).
        device: where the functions work.
        clock: ``time.process_time`` for processor time, which other work on the machine does not
            count in. Default: wall-clock time.

    Returns:
        Name to ``repeats`` times in seconds.

    Raises:
        ValueError: no function, or ``repeats`` or ``warmup`` out of range.
    """
    if not functions or repeats < 1 or warmup < 0:
        raise ValueError(
            'time_calls: expected at least one function, repeats >= 1 and warmup >= 0, got '
            f'{len(functions)}, {repeats} and {warmup}.'
        )
    times: dict[str, list[float]] = {name: [] for name in functions}
    for index in range(warmup + repeats):
        for name, function in functions.items():
            synchronize(device)
            start = clock()
            # The result is dropped after the time is taken, which would else include giving its
            # memory back.
            result = function()
            synchronize(device)
            elapsed = clock() - start
            del result
            if index >= warmup:
                times[name].append(elapsed)
    return times


class StageClock:
    """Where the time of a loop goes, by stages that may lie within each other: each counts without
    those within it.

    A stage begins and ends with an idle device, so that its time is its own; what the device and
    the host would do at the same time is done in turn.

    Args:
        device: where the stages work.

    Attributes:
        rounds: for each round of the loop, stage to (wall-clock seconds, processor seconds of all
            threads).
    """

    def __init__(self, device: str | torch.device = 'cpu') -> None:
        self.device = device
        self.rounds: list[dict[str, tuple[float, float]]] = []
        self._open: list[str] = []
        self._last = (0.0, 0.0)
        self.next_round()

    def next_round(self) -> None:
        """What follows is counted in a round of its own."""
        self.rounds.append(defaultdict(lambda: (0.0, 0.0)))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what is done inside as ``name``; several times in a round add up."""
        self._account()
        self._open.append(name)
        try:
            yield
        finally:
            self._account()
            self._open.pop()

    def watch(self, owner: object, method: str, name: str) -> None:
        """Count every call of ``owner.method`` as ``name``, for as long as ``owner`` lives."""
        function = getattr(owner, method)

        @wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        setattr(owner, method, watched)

    def _account(self) -> None:
        synchronize(self.device)
        now = perf_counter(), process_time()
        if self._open:
            spent = self.rounds[-1][self._open[-1]]
            self.rounds[-1][self._open[-1]] = tuple(
                total + end - start
                for total, end, start in zip(spent, now, self._last, strict=True)
            )
        self._last = now


def peak_memory(function: Callable[[], Any], device: str | torch.device = 'cpu') -> int:
    """Bytes that a call has allocated at its peak, beyond what was allocated before it.

    Counted is what goes through PyTorch's allocator: activations, gradients, results, the scratch
    memory of convolutions that PyTorch asks for. Not counted is what libraries and the driver take
    for themselves, nor memory that the allocator has reserved and does not use. On CUDA it is
    ``max_memory_allocated``; on the CPU, PyTorch's profiler records every allocation, and the peak
    is that of their running sum. (The peak of the process's resident memory would hold what earlier
    calls had left behind.)

    Args:
        function: called once; it should have been called before, as a first call may also allocate
            what is kept.
        device: where it works.
    """
    if torch.device(device).type == 'cuda':
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault(
        'KINETO_LOG_LEVEL', '99'
    )  # read at the first start, which is announced otherwise
    with profile(use_cpu=True, profile_memory=True) as record:
        function()
    changes = [
        (event.start_ns(), event.nbytes())
        for event in record.kineto_results.events()
        if event.name() == _ALLOCATION
    ]
    allocated = peak = 0
    for _, change in sorted(changes, key=lambda item: item[0]):
        allocated += change
        peak = max(peak, allocated)
    return peak


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the CPU, has no memory left."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_EXHAUSTED)


def synchronize(device: str | torch.device) -> None:
    """Wait until the device has done what it was given."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
