"""Tables of a sweep: Markdown to read, CSV and JSON to work with."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m2h_mm.evaluation.report import write_report
from m2h_mm.experiments.sweep_report import GAIN
from m2h_mm.experiments.sweep_spec import SINGLE_TASK
from m2h_mm.system import write_atomically

TABLES = ('table.md', 'table.csv', 'table.json')
NOTHING = '–'
ALIKE = '≈'
# Key, heading, unit.
COSTS = (
    ('parameters', 'parameters (M)', 1e6),
    ('macs', 'GMACs', 1e9),
    ('latency', 'latency (ms)', 1e-3),
    ('memory', 'peak memory (MiB)', 2**20),
)


def write_tables(folder: Path, summary: Mapping[str, Any]) -> Path:
    """Write :data:`TABLES`.

    Args:
        summary: see :func:`~m2h_mm.experiments.sweep_report.summarise_sweep`.

    Returns:
        The Markdown file.
    """
    markdown, commas, report = (folder / name for name in TABLES)
    write_atomically(markdown, to_markdown(summary))
    write_atomically(commas, to_csv(summary))
    write_report(report, summary)
    return markdown


def to_markdown(summary: Mapping[str, Any]) -> str:
    """The table, how to read it, and what is missing."""
    columns, rows = summary['columns'], summary['rows']
    heading = [
        'variant',
        'seeds',
        *(f'{_label(name)} {"↑" if better else "↓"}' for name, better in columns.items()),
        *(title for _, title, _ in COSTS),
    ]
    lines = [heading, ['---', *['---:'] * (len(heading) - 1)]]
    decimals = {
        column: _decimals([row['cells'][column]['mean'] for row in rows.values()])
        for column in columns
    }
    for name, row in rows.items():
        lines.append(
            [
                name.replace('_', ' ') if name == SINGLE_TASK else name,
                f'{len(row["seeds"])}/{summary["num_seeds"]}',
                *(_cell(row['cells'][column], decimals[column]) for column in columns),
                *(_cost(row['costs'][key], unit) for key, _, unit in COSTS),
            ]
        )
    table = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
    return f'# {summary["name"]}\n\n{table}\n\n{_caption(summary)}\n'


def _label(column: str) -> str:
    return 'Δm (%)' if column == GAIN else column


def _decimals(means: Sequence[float | None]) -> int:
    """Behind the point, so that the largest of a column has four digits."""
    largest = max((abs(mean) for mean in means if mean), default=1.0)
    return min(max(3 - math.floor(math.log10(largest)), 0), 6)


def _cell(cell: Mapping[str, Any], decimals: int) -> str:
    if cell['mean'] is None:
        return NOTHING
    text = f'{cell["mean"]:.{decimals}f}'
    if cell['std'] is not None:
        text += f' ± {cell["std"]:.{decimals}f}'
    if cell['best']:
        text = f'**{text}**'
    return f'{text} {ALIKE}' if cell['like_reference'] else text


def _cost(value: float | None, unit: float) -> str:
    return NOTHING if value is None else f'{value / unit:.4g}'


def _caption(summary: Mapping[str, Any]) -> str:
    costs, rows = summary['costs'], summary['rows']
    lines = []
    if any(cell['std'] is not None for row in rows.values() for cell in row['cells'].values()):
        lines += [
            f'Mean ± standard deviation over seeds. {ALIKE}: not told apart from '
            f'`{summary["reference"]}`: |difference| ≤ √(s_a² + s_b²) of the two standard '
            'deviations. Bold: better than every other variant by more than that.'
        ]
    if any(len(cell['values']) == 1 for row in rows.values() for cell in row['cells'].values()):
        lines += [
            'Of one seed there is no spread: whether its differences count cannot be said, and '
            'none is marked.'
        ]
    if GAIN in summary['columns']:
        lines += [
            f'{_label(GAIN)}: mean relative gain of the headline metrics over the mean of the '
            'single-task models over their seeds; its deviation is that of the variant alone. '
            'Single task: one model per task, parameters, GMACs and latencies summed, the '
            'largest peak memory.'
        ]
        if all(row['cells'][GAIN]['mean'] is None for row in rows.values()):
            lines += [
                f'There is no {_label(GAIN)} yet: it takes a finished single-task run of every '
                'task, and metrics other than 0.'
            ]
    timed = (
        f'latency is the median of {costs["repeats"]} calls, the variants in turn, on '
        f'{costs["device"]}, {costs["threads"]} threads; memory is what one call allocates at '
        'its peak'
        if costs['repeats']
        else 'latency and memory were not measured'
    )
    sizes = sorted({'x'.join(map(str, row['costs']['size'])) for row in rows.values()})
    lines += [f'Costs are those of one image of {" or ".join(sizes)} pixels; {timed}.']
    if summary['missing']:
        lines += [
            '**Incomplete.** Not finished: '
            + ', '.join(f'{name} ({found})' for name, found in summary['missing'].items())
            + '.'
        ]
    return '\n\n'.join(lines)


def to_csv(summary: Mapping[str, Any]) -> str:
    """One line per variant; costs in parameters, multiply-adds, seconds and bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    parts = ('mean', 'std', 'like_reference', 'best')
    writer.writerow(
        [
            'variant',
            'num_seeds',
            *(f'{column}_{part}' for column in summary['columns'] for part in parts),
            *(key for key, _, _ in COSTS),
        ]
    )
    for name, row in summary['rows'].items():
        writer.writerow(
            [
                name,
                len(row['seeds']),
                *(row['cells'][column][part] for column in summary['columns'] for part in parts),
                *(row['costs'][key] for key, _, _ in COSTS),
            ]
        )
    return text.getvalue()
