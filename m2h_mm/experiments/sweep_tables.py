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
        *(f'{_label(name)} {_arrow(up)}' for name, up in columns.items()),
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
                _name(name),
                f'{len(row["seeds"])}/{summary["num_seeds"]}',
                *(_cell(row['cells'][column], decimals[column]) for column in columns),
                *(_cost(row['costs'][key], unit) for key, _, unit in COSTS),
            ]
        )
    table = _markdown(lines)
    parts = [f'# {summary["name"]}', table, _caption(summary), *_differences(summary)]
    return '\n\n'.join(parts) + '\n'


def _differences(summary: Mapping[str, Any]) -> list[str]:
    """The second table: each row minus the reference, seed by seed; none without two seeds."""
    columns, rows = summary['columns'], summary['rows']
    if all(row['cells'][column]['interval'] is None for row in rows.values() for column in columns):
        return []
    reference = summary['reference']
    heading = ['variant', *(f'{_label(name)} {_arrow(up)}' for name, up in columns.items())]
    lines = [heading, ['---', *['---:'] * len(columns)]]
    decimals = {
        column: _decimals([row['cells'][column]['mean'] for row in rows.values()])
        for column in columns
    }
    for name, row in rows.items():
        if name != reference:
            cells = [_difference(row['cells'][key], decimals[key]) for key in columns]
            lines.append([_name(name), *cells])
    return [
        f'## Differences from {reference}',
        _markdown(lines),
        'Mean of the differences between runs of the same seed ± half the width of its 95 % '
        "confidence interval (Student's t over the seeds). Bold: the interval does not contain 0.",
    ]


def _difference(cell: Mapping[str, Any], decimals: int) -> str:
    if cell['interval'] is None:
        return NOTHING
    text = f'{cell["difference"]:+.{decimals}f} ± {cell["interval"]:.{decimals}f}'
    return text if cell['like_reference'] else f'**{text}**'


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _arrow(higher_is_better: bool) -> str:
    return '↑' if higher_is_better else '↓'


def _name(row: str) -> str:
    return row.replace('_', ' ') if row == SINGLE_TASK else row


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
            f'`{summary["reference"]}`: the 95 % confidence interval of the differences between '
            'runs of the same seed contains 0. Bold: better than every other variant, and told '
            'apart from each.'
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
    settings = [
        f'{name} {value}' for row in rows.values() for name, value in row['setting'].items()
    ]
    if settings:
        lines += [
            'Chosen for each by the last validation of the trainings with the first seed, on other '
            f'frames than those of the test: {", ".join(settings)}.'
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
    parts = ('mean', 'std', 'difference', 'interval', 'like_reference', 'best')
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
