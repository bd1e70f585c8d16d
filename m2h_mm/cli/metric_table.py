"""Metrics as a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from m2h_mm.tasks import Task

GAIN = 'delta_m'


def print_metrics(
    metrics: Mapping[str, float],
    constant: Mapping[str, float] | None,
    tasks: Mapping[str, Task],
    note: str = '',
) -> None:
    """One table of all metrics, the headline of each task in bold, the gain over all tasks last.

    Args:
        metrics: name (``depth/rmse``) to value.
        constant: those of a constant predictor, shown beside them; None leaves the columns out.
        tasks: name to task, which knows its headline metric.
        note: text below the table.
    """
    table = Table(
        title='Evaluation',
        caption='\n'.join(filter(None, ('↑ higher is better, ↓ lower is better', note))),
    )
    table.add_column('metric')
    table.add_column('model', justify='right')
    if constant is not None:
        table.add_column('constant predictor', justify='right')
        table.add_column('model / constant', justify='right')
    headlines = {f'{name}/{task.metric}': task for name, task in tasks.items()}
    group = None
    for name, value in sorted(metrics.items(), key=lambda item: item[0] == GAIN):
        # Behind the name of a data set, where several were evaluated.
        measure = '/'.join(name.split('/')[-2:])
        if name.rpartition('/')[0] != group:
            group = name.rpartition('/')[0]
            table.add_section()
        label, style = name, None
        if measure in headlines:
            label = f'{name} {"↑" if headlines[measure].higher_is_better else "↓"}'
            style = 'bold'
        elif name.split('/')[-1] == GAIN:
            label, style = f'{name} ↑', 'bold'
        row = [label, f'{value:.4f}']
        if constant is not None:
            other = constant.get(name)
            row += [
                '' if other is None else f'{other:.4f}',
                f'{value / other:.2f}x' if other else '',
            ]
        table.add_row(*row, style=style)
    Console().print(table)
