"""What the command line tools share."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from m2h_mm.tasks import Task

PACKAGE = Path(__file__).resolve().parents[1]
GAIN = 'delta_m'
TRACEBACK_SWITCH = 'M2H_MM_TRACEBACK'


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Show an error that this project raised on purpose as one message instead of a stack.

    What other libraries raise keeps its traceback. ``M2H_MM_TRACEBACK=1`` shows it always.
    """
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        file, message = _origin(error)
        raised_in = Path(file).resolve()
        ours = PACKAGE in raised_in.parents or bool({'tools', 'demo'} & set(raised_in.parts))
        if not ours or os.environ.get(TRACEBACK_SWITCH):
            raise
        print(
            f'\nerror: {message}\n({TRACEBACK_SWITCH}=1 shows where it was raised.)',
            file=sys.stderr,
        )
        raise SystemExit(1) from None


def _origin(error: Exception) -> tuple[str, str]:
    """The file in which an error was raised, and its message; also of one that a loader's worker
    passes on as text.
    """
    text = str(error)
    if text.startswith('Caught ') and 'Original Traceback' in text:
        trace, _, message = text.rpartition(f'\n{type(error).__name__}: ')
        return re.findall(r'File "(.+)", line \d+', trace)[-1], message
    return traceback.extract_tb(error.__traceback__)[-1].filename, text


def select_tasks(tasks: Mapping[str, Task], names: Sequence[str] | None) -> dict[str, Task]:
    """The tasks that ``--tasks`` names, or all of them, in their own order.

    Raises:
        ValueError: a name that is none of them.
    """
    unknown = sorted(set(names or ()) - set(tasks))
    if unknown:
        raise ValueError(f'--tasks: the data set has {list(tasks)}, got {unknown}.')
    return {name: task for name, task in tasks.items() if names is None or name in names}


def print_metrics(
    metrics: Mapping[str, float],
    constant: Mapping[str, float] | None,
    tasks: Mapping[str, Task],
    note: str = '',
) -> None:
    """One table of all metrics, the headline of each task in bold, the gain over all tasks last;
    beside them those of a constant predictor; below it a note.
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
