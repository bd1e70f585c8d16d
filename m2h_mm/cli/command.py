"""What every command has: a parser, options that many share, and how its work is started."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.cli.errors import plain_errors
from m2h_mm.engine.config_files import dataset_names
from m2h_mm.system.processes import end_with_launcher
from m2h_mm.system.spelling import did_you_mean

if TYPE_CHECKING:
    from m2h_mm.tasks import Task

FORMAT_OPTIONS = ('label_format', 'prediction_format')
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def make_parser(command: str, description: str) -> argparse.ArgumentParser:
    """The parser of a command.

    Args:
        command: as it is typed behind ``m2h-mm``.
        description: shown by ``--help`` as it is, with its line breaks.
    """
    return argparse.ArgumentParser(
        prog=f'm2h-mm {command}',
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run_command(work: Callable[[argparse.Namespace], int | None], args: argparse.Namespace) -> int:
    """Do the work of a command.

    Args:
        work: given the arguments; its return value is the exit status, None for 0.
        args: of the command line, already checked.

    Returns:
        The exit status.

    Raises:
        SystemExit: see :func:`~m2h_mm.cli.errors.plain_errors`.
    """
    end_with_launcher()
    # Behind the arguments, so that --help does not wait for PyTorch.
    from m2h_mm.engine import install

    for stream in (sys.stdout, sys.stderr):
        # Names of files may hold anything; what the terminal cannot show is shown by its number.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    with plain_errors():
        keep_compiled_functions_apart()
        install()
        if hasattr(args, 'cfg_options'):
            args.cfg_options = read_cfg_options(args.cfg_options)
        for option in FORMAT_OPTIONS:
            if hasattr(args, option):
                setattr(args, option, read_formats(getattr(args, option)))
        return work(args) or 0


def keep_compiled_functions_apart() -> None:
    """Let numba keep what it compiles in the user's cache: beside the installed files, uninstalling
    would leave it behind.
    """
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    os.environ.setdefault('NUMBA_CACHE_DIR', str(cache / 'm2h_mm' / 'numba'))


def add_cfg_options(
    parser: argparse.ArgumentParser, help: str = 'override config values: KEY.KEY=VALUE'
) -> None:
    """``--cfg-options``: a list of texts until :func:`run_command` turns it into a dict."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        type=_assignment,
        default=[],
        metavar='KEY=VALUE',
        help=help,
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """The config and ``--ablation``, what is changed in it."""
    parser.add_argument('config', help='path or name of the config')
    parser.add_argument(
        '--ablation',
        nargs='+',
        metavar='NAME',
        help='change one thing or several in the config, by the names of files in '
        'configs/ablations, such as interaction_none, or by paths of your own',
    )


def whole_number(low: int) -> Callable[[str], int]:
    """The ``type`` of an argument that is a whole number of ``low`` or more."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if number < low:
            raise argparse.ArgumentTypeError(
                f'expected a whole number of {low} or more, got {text!r}'
            )
        return number

    return parse


def real_number(low: float, high: float) -> Callable[[str], float]:
    """The ``type`` of an argument that is a number above ``low`` and up to ``high``."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low < number <= high:
            raise argparse.ArgumentTypeError(
                f'expected a number above {low:g}'
                + (f' and up to {high:g}' if high < math.inf else '')
                + f', got {text!r}'
            )
        return number

    return parse


def _assignment(text: str) -> str:
    if not text.partition('=')[1]:
        raise argparse.ArgumentTypeError(f'expected KEY=VALUE, got {text!r}')
    return text


def read_cfg_options(items: Sequence[str]) -> dict:
    """``['a.b=1', 'c=[x,y]']`` to ``{'a.b': 1, 'c': ['x', 'y']}``, by the rules of mmengine."""
    # Not on the way to --help: mmengine takes a fifth of a second to be imported.
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    try:
        return parser.parse_args(['--cfg-options', *items] if items else []).cfg_options
    except (AssertionError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(
            f'--cfg-options {" ".join(items)[:200]}: it cannot be understood ({error}). Expected '
            'KEY=VALUE, with lists such as [1,2] and tuples such as (1,2).'
        ) from error


def add_label_format(
    parser: argparse.ArgumentParser,
    option: str = '--label-format',
    what: str = "the data set's label files are to be read, as label_formats of its config",
) -> None:
    """``--label-format`` or ``--prediction-format``: a list of texts until :func:`run_command`
    turns it into a dict by :func:`read_formats`.
    """
    parser.add_argument(
        option,
        nargs='+',
        action='extend',
        type=_assignment,
        default=[],
        metavar='TASK.KEY=VALUE',
        help=f'how {what}: depth.unit=cm, see docs/datasets.md',
    )


def read_formats(items: Sequence[str]) -> dict[str, dict]:
    """``['depth.unit=mm']`` to ``{'depth': {'unit': 'mm'}}``.

    Raises:
        ValueError: a key without a task.
    """
    formats: dict[str, dict] = {}
    for key, value in read_cfg_options(items).items():
        task, dot, name = key.rpartition('.')
        if not dot:
            raise ValueError(f'{key}: expected TASK.KEY=VALUE, such as depth.unit=mm.')
        formats.setdefault(task, {})[name] = value
    return formats


def state_label_formats(dataset: dict, formats: Mapping[str, Mapping]) -> None:
    """Put what the command line says about label files into the config of a data set, over what
    it says itself.
    """
    if formats:
        merged = {name: dict(keys) for name, keys in (dataset.get('label_formats') or {}).items()}
        for name, keys in formats.items():
            merged[name] = {**merged.get(name, {}), **keys}
        dataset['label_formats'] = merged


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """``--launcher``: one process, or one of several."""
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='how the processes of a distributed run are started (%(default)s)',
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """``--overwrite``, for every command that writes files; see
    :func:`~m2h_mm.system.outputs.require_free`.
    """
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace files that are there already, but never one that is read',
    )


def add_labelled_data(parser: argparse.ArgumentParser, what: str = 'the data set') -> None:
    """``--dataset NAME`` or ``--config CONFIG``, one of which says how labels are read."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        '--dataset',
        choices=dataset_names(),
        help=f'{what}, by the name of its config in configs/_base_/datasets',
    )
    source.add_argument('--config', help=f'take {what} from this config: test_dataloader.dataset')


def select_tasks(tasks: Mapping[str, Task], names: Sequence[str] | None) -> dict[str, Task]:
    """The tasks that ``--tasks`` names, or all of them, in their own order.

    Raises:
        ValueError: a name that is none of them.
    """
    unknown = sorted(set(names or ()) - set(tasks))
    if unknown:
        raise ValueError(
            f'--tasks: the data set has {list(tasks)}, got {unknown}.'
            + did_you_mean(unknown[0], tasks)
        )
    return {name: task for name, task in tasks.items() if names is None or name in names}
