"""What an exchange between tasks costs as the image grows: ``python benchmarks/interaction_cost.py
--plot cost.png``.

Every interaction that is registered, with its defaults, alone: four tasks, called in turn on maps
of growing area. Time, peak memory and counted operations of the forward pass, each with the
exponent p of cost ~ area^p over the upper half of the areas. Time is the processor time of one
thread, the least of the repeats: what else the machine does is not counted, though it slows caches.
"""

import argparse
import copy
import time

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.experiments.timing import peak_memory
from m2h_mm.models import interactions
from m2h_mm.models.building import build_part
from m2h_mm.models.optimize import optimize

TASKS = ('semseg', 'depth', 'normals', 'edge')
COSTS = dict(time=('time (ms)', 1e3), memory=('peak memory (MiB)', 2**-20), flops=('GFLOPs', 1e-9))
ACTIONS = ('train', 'forward')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--sides',
        type=int,
        nargs='+',
        default=[28, 42, 56, 84, 112],
        help='sides of the square maps in pixels (%(default)s)',
    )
    parser.add_argument('--channels', type=int, default=32, help='(%(default)s)')
    parser.add_argument(
        '--action',
        choices=ACTIONS,
        default='train',
        help='forward and backward pass, or the forward pass of the fast forms (%(default)s)',
    )
    parser.add_argument('--repeats', type=int, default=5, help='timed calls of each (%(default)s)')
    parser.add_argument('--plot', metavar='PNG')
    parser.add_argument('--out', metavar='JSON')
    return parser.parse_args()


def count_flops(interaction: nn.Module, maps: dict[str, Tensor]) -> int:
    """Two per multiply-add; the fused attention kernels are counted as the plain products that they
    stand for, and a scan as its products alone.
    """
    maps = {task: x.to('meta') for task, x in maps.items()}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        copy.deepcopy(interaction).to('meta')(maps)
    return counter.get_total_flops()


def build(name: str, args: argparse.Namespace) -> nn.Module:
    """As a decoder builds it."""
    interaction = build_part(
        'interaction', dict(type=name), 'the benchmark', channels=args.channels, tasks=TASKS
    )
    return interaction.train() if args.action == 'train' else optimize(interaction.eval())


def call(interaction: nn.Module, maps: dict[str, Tensor], action: str) -> None:
    """What is measured."""
    if action == 'forward':
        with torch.inference_mode():
            interaction(maps)
        return
    interaction.zero_grad()
    maps = {task: x.requires_grad_() for task, x in maps.items()}
    torch.autograd.backward(list(interaction(maps).values()), list(maps.values()))


def measure(args: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """By interaction and cost, one value per side: seconds, bytes, operations."""
    built = {name: build(name, args) for name in interactions.__all__ if name != 'NoInteraction'}
    costs = {name: {cost: [] for cost in COSTS} for name in built}
    for side in args.sides:
        maps = {task: torch.randn(1, args.channels, side, side) for task in TASKS}
        times = {name: [] for name in built}
        for _ in range(1 + args.repeats):
            for name, interaction in built.items():
                start = time.process_time()
                call(interaction, maps, args.action)
                times[name].append(time.process_time() - start)
        for name, interaction in built.items():
            costs[name]['time'].append(min(times[name][1:]))
            costs[name]['memory'].append(
                peak_memory(lambda: call(interaction, maps, args.action))  # noqa: B023
            )
            costs[name]['flops'].append(count_flops(interaction, maps))
    return costs


def exponent(areas: np.ndarray, values: list[float]) -> float:
    """p of values ~ areas^p over the upper half of the areas: least squares of the logarithms."""
    if min(values) <= 0:
        return float('nan')  # no operation of a kind that is counted
    upper = slice(len(areas) // 2, None)
    return float(np.polyfit(np.log(areas[upper]), np.log(values[upper]), 1)[0])


def print_table(costs: dict, sides: list[int], action: str) -> None:
    table = Table(title=f'Cost of the exchange between four tasks, {action}')
    for name in ('interaction', 'cost', *(f'{side}x{side}' for side in sides), 'exponent'):
        table.add_column(
            name, justify='left' if name == 'interaction' else 'right', overflow='fold'
        )
    areas = np.square(np.asarray(sides, float))
    for name, found in costs.items():
        table.add_section()
        for cost, (label, unit) in COSTS.items():
            table.add_row(
                name,
                label,
                *(f'{value * unit:.3g}' for value in found[cost]),
                f'{exponent(areas, found[cost]):.2f}',
            )
    Console(width=200).print(table)


def draw(costs: dict, sides: list[int], path: str) -> None:
    areas = np.square(np.asarray(sides, float))
    figure = Figure(figsize=(15, 6), layout='constrained')
    for axes, (cost, (label, unit)) in zip(
        figure.subplots(1, len(COSTS)), COSTS.items(), strict=True
    ):
        axes.set(xscale='log', yscale='log', xlabel='area of a map (pixels)', title=label)
        for index, (name, found) in enumerate(costs.items()):
            axes.plot(
                areas,
                np.multiply(found[cost], unit),
                color=f'C{index % 10}',
                marker='os^Dvx'[index % 6],
                linestyle='-' if index < 10 else '--',
                label=f'{name}: area^{exponent(areas, found[cost]):.2f}',
            )
        axes.grid(which='both', alpha=0.3)
        axes.legend(fontsize='small', loc='upper center', bbox_to_anchor=(0.5, -0.12), ncols=2)
    figure.savefig(path, dpi=110)


def main() -> None:
    args = parse_args()
    init_default_scope('m2h_mm')
    torch.set_num_threads(1)
    costs = measure(args)
    print_table(costs, args.sides, args.action)
    if args.plot:
        draw(costs, args.sides, args.plot)
    if args.out:
        write_report(
            args.out,
            dict(
                sides=args.sides,
                costs=costs,
                channels=args.channels,
                action=args.action,
                repeats=args.repeats,
                threads=torch.get_num_threads(),
                versions=versions(),
            ),
        )


if __name__ == '__main__':
    main()
