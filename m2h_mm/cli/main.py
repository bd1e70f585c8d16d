"""The program ``m2h-mm``: the list of commands, and the way to each."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

from m2h_mm import __version__

COMMANDS = {
    'train': 'train',
    'test': 'test',
    'predict': 'predict',
    'video': 'video',
    'bag': 'bag',
    'node': 'node',
    'pointcloud': 'pointcloud',
    'map': 'map',
    'web': 'web.command',
    'export': 'export',
    'ablate': 'ablate',
    'eval-preds': 'eval_preds',
    'compare': 'compare',
    'check-data': 'check_data',
    'check-normals': 'check_normals',
    'convert-data': 'convert_data',
    'convert-checkpoint': 'convert_checkpoint',
    'publish': 'publish',
    'benchmark': 'benchmark',
    'flops': 'flops',
    'logs': 'logs',
    'browse': 'browse',
    'print-config': 'print_config',
    'replay-step': 'replay_step',
}
"""Command to its module in this package."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names.

    Args:
        argv: the arguments. Default: those of the process.

    Returns:
        The exit status: 0 for success, 2 for arguments that are wrong.
    """
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ['--help']
    if name in ('-h', '--help'):
        print(overview())
        return 0
    if name == '--version':
        print(f'm2h-mm {__version__}')
        return 0
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f'did you mean {close[0]!r}?' if close else f'there are {", ".join(COMMANDS)}'
        print(f'm2h-mm: there is no command {name!r}; {hint}', file=sys.stderr)
        return 2
    return load(name).main(rest)


def load(command: str):
    """The module of a command."""
    return import_module(f'm2h_mm.cli.{COMMANDS[command]}')


def overview() -> str:
    """What ``m2h-mm --help`` says: each command with the first sentence of its module."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f'  {name:<{width}}{load(name).__doc__.splitlines()[0]}' for name in COMMANDS]
    return '\n'.join(
        [
            'usage: m2h-mm COMMAND [ARGUMENTS]',
            '',
            'Multi-task dense prediction: train, test and use models, and compare their parts.',
            '',
            *lines,
            '',
            'm2h-mm COMMAND --help says more of one of them.',
        ]
    )
