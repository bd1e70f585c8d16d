"""Look at every file of a data set.

Ends with status 1 if training would fail on what is found, and only then.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from m2h_mm.cli.command import (
    add_cfg_options,
    add_label_format,
    add_labelled_data,
    make_parser,
    run_command,
    state_label_formats,
    whole_number,
)
from m2h_mm.system.progress import progress_bar

if TYPE_CHECKING:
    from mmengine.config import Config
    from rich.console import Console

    from m2h_mm.datasets import MultiTaskDataset
    from m2h_mm.datasets.inspection import Inspection
    from m2h_mm.tasks import Task


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm check-data ROOT --dataset NAME``; returns the exit status."""
    return run_command(check_data, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('check-data', __doc__)
    parser.add_argument(
        'root', nargs='?', help='data_root of the data set (may be left out with --config)'
    )
    add_labelled_data(parser)
    parser.add_argument(
        '--split',
        nargs='+',
        metavar='SPLIT',
        help="lists in gt_sets to look at (those of the config's dataloaders, and all others)",
    )
    parser.add_argument(
        '--limit',
        type=whole_number(0),
        default=5,
        metavar='N',
        help='name N files of each finding at most; 0 names all (%(default)s)',
    )
    add_label_format(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.dataset and not args.root:
        parser.error('--dataset needs ROOT, the folder of the data')
    return args


def check_data(args: argparse.Namespace) -> int:
    """Status 1 if training would fail."""
    from rich.console import Console

    from m2h_mm.datasets.inspection import inspect_dataset
    from m2h_mm.engine.config import read_dataset_config

    cfg = read_dataset_config(args.dataset, args.config, args.cfg_options, args.root)
    state_label_formats(cfg.test_dataloader.dataset, args.label_format)
    dataset = build_dataset(cfg)
    report = inspect_dataset(dataset, args.split or all_splits(cfg, dataset), track)
    console = Console()
    print_labels(console, report, dataset.tasks)
    print_classes(console, report)
    print_findings(console, report, args.limit)
    errors = sum(finding.fatal for finding in report.findings)
    console.print(
        f'\n{dataset.data_root}: {errors} errors, {len(report.findings) - errors} warnings',
        soft_wrap=True,
    )
    return 1 if report.is_fatal else 0


def build_dataset(cfg: Config) -> MultiTaskDataset:
    """The data set of the config, without its frames.

    Raises:
        ValueError: one that is made of others.
    """
    from m2h_mm.datasets import MultiTaskDataset
    from m2h_mm.registry import DATASETS

    settings = cfg.test_dataloader.dataset
    kind = DATASETS.get(settings.type)
    if kind is not None and not issubclass(kind, MultiTaskDataset):
        raise ValueError(
            f'test_dataloader.dataset: expected a MultiTaskDataset, got {settings.type}. Check '
            'its parts one by one.'
        )
    return DATASETS.build(dict(settings, pipeline=[], lazy_init=True))


def all_splits(cfg: Config, dataset: MultiTaskDataset) -> list[str]:
    """What the config's dataloaders read, then what else is there."""
    loaders = [cfg.get(f'{mode}_dataloader') or {} for mode in ('train', 'val', 'test')]
    named = [loader.get('dataset', {}).get('split') for loader in loaders]
    there = sorted(dataset.read_lists(dataset.find_files(), []))
    return list(dict.fromkeys(filter(None, [*named, *there])))


def track(frames: Iterable, total: int) -> Iterator:
    """``frames``, with a bar that shows how many of ``total`` are done."""
    with progress_bar('Checking') as progress:
        yield from progress.track(frames, total)


def print_labels(console: Console, report: Inspection, tasks: Mapping[str, Task]) -> None:
    """How many labels there are, how much of them counts, and what they are on average."""
    from rich.table import Table

    table = Table(
        title='Labels',
        caption='mean: of what counts; the share of marked pixels, metres, a direction',
    )
    for column in ('task', 'split', 'frames with label', 'valid pixels', 'mean'):
        table.add_column(column, justify='left' if column in ('task', 'split') else 'right')
    for name, task in tasks.items():
        table.add_section()
        for split, totals in report.totals.items():
            total = totals[name]
            row = [name, split, f'{total.labels} of {report.frames[split]}']
            if total.pixels:
                mean = (
                    ''
                    if name in report.classes
                    else ', '.join(
                        f'{value:.3f}'
                        for value in task.constant_prediction(total.statistics).flatten().tolist()
                    )
                )
                row += [f'{total.valid / total.pixels:.1%}', mean]
            table.add_row(*row)
    console.print(table)


def print_classes(console: Console, report: Inspection) -> None:
    """The share of every class."""
    from rich.table import Table

    for name, classes in report.classes.items():
        totals = {
            split: totals[name] for split, totals in report.totals.items() if totals[name].labels
        }
        if not totals:
            continue
        table = Table(title=f'{name}: share of each class')
        table.add_column('id', justify='right')
        table.add_column('class')
        for split in totals:
            table.add_column(split, justify='right')
        for index, label in enumerate(classes):
            shares = [
                total.statistics[index] / max(int(total.statistics[: len(classes)].sum()), 1)
                for total in totals.values()
            ]
            table.add_row(
                str(index), label, *(f'{share:.3%}' if share else '[red]0[/]' for share in shares)
            )
        console.print(table)


def print_findings(console: Console, report: Inspection, limit: int) -> None:
    """All kinds of findings, the fatal ones last, next to the prompt."""
    from rich.markup import escape

    for fatal, title, style in (
        (False, 'Warnings', 'yellow'),
        (True, 'Errors: training fails', 'red'),
    ):
        kinds: dict[str, list[str]] = {}
        for finding in report.findings:
            if finding.fatal == fatal:
                kinds.setdefault(finding.kind, []).append(finding.item)
        if kinds:
            console.print(f'\n{title}', style=f'bold {style}')
        for kind, items in kinds.items():
            console.print(f'  {len(items)} x {escape(kind)}', style=style)
            for item in items[: limit or None]:
                console.print(f'      {item}', markup=False, highlight=False, soft_wrap=True)
            if limit and len(items) > limit:
                console.print(
                    f'      ... and {len(items) - limit} more (--limit 0 names all)',
                    highlight=False,
                )
