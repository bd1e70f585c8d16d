"""What an exchange between tasks costs as the image grows: ``python benchmarks/interaction_cost.py
--plot cost.png``.

The interactions alone, four tasks, called in turn on maps of growing area; time, counted operations
and peak memory, each with the exponent p of cost ~ area^p over the upper half of the areas.
"""

import argparse

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.experiments.timing import peak_memory, time_calls
from m2h_mm.models.optimize import optimize
from m2h_mm.registry import MODELS

TASKS = ('semseg', 'depth', 'normals', 'edge')
INTERACTIONS = {
    'window attention (WMCA)': dict(type='WMCA', num_layers=1),
    'global attention, keys 8x8': dict(
        type='GlobalCrossTaskAttention', num_heads=4, num_layers=1, pooling=8
    ),
    'distillation': dict(type='MultiModalDistillation'),
    'gated mixing': dict(type='CrossTaskMixer'),
    "M2H-MX's mixer": dict(type='M2HMXMixer'),
    "M2H-MX's Mamba block": dict(type='M2HMXMamba'),
}
COSTS = dict(time=('time (ms)', 1e3), flops=('GFLOPs', 1e-9), memory=('peak memory (MiB)', 2**-20))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--sides',
        type=int,
        nargs='+',
        default=[28, 42, 56, 84, 112, 168, 224, 336],
        help='sides of the square maps in pixels (%(default)s)',
    )
    parser.add_argument('--channels', type=int, default=32, help='(%(default)s)')
    parser.add_argument('--repeats', type=int, default=9, help='timed calls of each (%(default)s)')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--plot', metavar='PNG')
    parser.add_argument('--out', metavar='JSON')
    return parser.parse_args()


def count_flops(interaction: torch.nn.Module, maps: dict[str, torch.Tensor]) -> int:
    """Two per multiply-add; the fused attention kernels are counted as the plain products that they
    stand for.
    """
    meta = {task: x.to('meta') for task, x in maps.items()}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(
            interaction,
            {key: value.to('meta') for key, value in interaction.state_dict().items()},
            (meta,),
        )
    return counter.get_total_flops()


@torch.inference_mode()
def measure(args: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """By interaction and cost, one value per side: medians in seconds, operations, bytes."""
    interactions = {
        name: optimize(MODELS.build(dict(cfg, channels=args.channels, tasks=TASKS)).eval())
        for name, cfg in INTERACTIONS.items()
    }
    for interaction in interactions.values():
        interaction.to(args.device)
    costs = {name: {cost: [] for cost in COSTS} for name in interactions}
    for side in args.sides:
        maps = {
            task: torch.randn(1, args.channels, side, side, device=args.device) for task in TASKS
        }
        calls = {
            name: lambda interaction=interaction, maps=maps: interaction(maps)
            for name, interaction in interactions.items()
        }
        for name, values in time_calls(calls, args.repeats, 2, args.device).items():
            costs[name]['time'].append(float(np.median(values)))
            costs[name]['flops'].append(count_flops(interactions[name], maps))
            costs[name]['memory'].append(peak_memory(calls[name], args.device))
    return costs


def exponent(areas: np.ndarray, values: list[float]) -> float:
    """p of values ~ areas^p over the upper half of the areas: least squares of the logarithms."""
    upper = slice(len(areas) // 2, None)
    return float(np.polyfit(np.log(areas[upper]), np.log(values[upper]), 1)[0])


def print_table(costs: dict, sides: list[int]) -> None:
    table = Table(title='Cost of the exchange between four tasks')
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
    figure = Figure(figsize=(11, 4), layout='constrained')
    for axes, (cost, (label, unit)) in zip(
        figure.subplots(1, len(COSTS)), COSTS.items(), strict=True
    ):
        axes.set(xscale='log', yscale='log', xlabel='area of a map (pixels)', title=label)
        for index, (name, found) in enumerate(costs.items()):
            axes.plot(
                areas,
                np.multiply(found[cost], unit),
                marker='os^Dvx'[index % 6],
                label=f'{name}: area^{exponent(areas, found[cost]):.2f}',
            )
        axes.grid(which='both', alpha=0.3)
        axes.legend(fontsize='x-small')
    figure.savefig(path, dpi=130)


def main() -> None:
    args = parse_args()
    init_default_scope('m2h_mm')
    costs = measure(args)
    print_table(costs, args.sides)
    if args.plot:
        draw(costs, args.sides, args.plot)
    if args.out:
        write_report(
            args.out,
            dict(
                sides=args.sides,
                costs=costs,
                channels=args.channels,
                repeats=args.repeats,
                threads=torch.get_num_threads(),
                versions=versions(),
            ),
        )


if __name__ == '__main__':
    main()
