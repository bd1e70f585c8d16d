"""Whether configs export: ``python benchmarks/exports.py CONFIG [CONFIG ...]``.

Each config's model, with random weights, becomes an ONNX file for any size; ONNX Runtime and
PyTorch are compared on images of several sizes, the one that was exported with among them.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from mmengine.config import DictAction
from rich.console import Console
from rich.table import Table

from m2h_mm.engine.config import load_config
from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.experiments.complexity import fit_size
from m2h_mm.inference.deployed_model import DeployedModel
from m2h_mm.inference.export import SUFFIXES, differences, example, export, load
from m2h_mm.registry import MODELS

GRIDS = ((3, 4), (4, 3), (5, 6))
"""Images per side in units of the model's stride, the first of the export."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', metavar='CONFIG')
    parser.add_argument(
        '--format', choices=['onnx', 'torch-export'], default='onnx', help='(%(default)s)'
    )
    parser.add_argument('--out', metavar='JSON')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE'
    )
    return parser.parse_args()


def settle_batch_norms(model: torch.nn.Module) -> None:
    """Give the batch norms the statistics of noise, without which a deep random network is far from
    any trained one.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean
    model.train()
    with torch.no_grad():
        model(torch.randn(4, 3, *fit_size(model, (112, 112))), mode='tensor')
    model.eval()


def measure(config: str, format: str, options: dict) -> dict:
    """Seconds that the export takes, megabytes, and the largest difference per task."""
    cfg = load_config(config, options)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    for (
        parameter
    ) in model.heads.parameters():  # as they start, heads say nearly the same of every pixel
        torch.nn.init.normal_(
            parameter, std=parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        )
    settle_batch_norms(model)
    deployed = DeployedModel(model, dynamic=True).eval()
    divisor = model.pipeline.size_divisor
    # Networks of small strides see too few pixels otherwise.
    unit = divisor * (1 if divisor >= 28 else 2)
    sizes = [(rows * unit, columns * unit) for rows, columns in GRIDS]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'model{SUFFIXES[format]}'
        start = time.perf_counter()
        export(deployed, path, format, sizes[0])
        elapsed = time.perf_counter() - start
        megabytes = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        run, worst = load(path, format), {}
        for index, size in enumerate(sizes):
            found = differences(run, deployed, example(size, 1 + index), deployed.names)
            worst = {name: max(worst.get(name, 0.0), value) for name, value in found.items()}
    return dict(seconds=elapsed, megabytes=megabytes, sizes=sizes, differences=worst)


def main() -> None:
    args = parse_args()
    console, results = Console(width=120), {}
    for config in args.configs:
        results[Path(config).stem] = result = measure(config, args.format, args.cfg_options)
        console.print(Path(config).stem, result)
        if args.out:
            write_report(args.out, dict(results=results, versions=versions()))
    table = Table(title=f'{args.format}, any size')
    for column in ('config', 'export (s)', 'MB', 'largest differences'):
        table.add_column(column)
    for name, result in results.items():
        worst = ', '.join(f'{task} {value:.1e}' for task, value in result['differences'].items())
        table.add_row(name, f'{result["seconds"]:.0f}', f'{result["megabytes"]:.0f}', worst)
    console.print(table)


if __name__ == '__main__':
    main()
