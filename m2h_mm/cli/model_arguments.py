"""What the programs in demo/ share."""

from __future__ import annotations

import argparse

from m2h_mm.inference.inferencer import DTYPES, FIT, NATIVE

OFFICIAL = 'official'


def add_model_arguments(parser: argparse.ArgumentParser, tasks: bool = True) -> None:
    """Which model is to be run, and how; ``tasks``: whether one may choose among its tasks."""
    parser.add_argument(
        'config',
        help=f'name or path of a config; "{OFFICIAL}" for a checkpoint of the authors of M2H',
    )
    parser.add_argument('checkpoint', help="of a training, or the authors' own")
    if tasks:
        parser.add_argument('--tasks', nargs='+', metavar='TASK', help='predict these only (all)')
    parser.add_argument(
        '--size',
        type=parse_size,
        default=NATIVE,
        metavar='SIZE',
        help=f'at which the network sees an image: {NATIVE}, {FIT} (nearest '
        "multiples of the network's "
        'stride), or HxW in pixels (%(default)s)',
    )
    parser.add_argument('--dtype', choices=DTYPES, default='fp32', help='(%(default)s)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (a GPU where there is one)')


def parse_size(text: str) -> str | tuple[int, int]:
    """``'448x576'`` to (448, 576); ``'native'`` and ``'fit'`` as they are."""
    height, _, width = text.partition('x')
    if text in (NATIVE, FIT):
        return text
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(
            f'expected {NATIVE}, {FIT} or HEIGHTxWIDTH such as 448x576, got {text!r}'
        )
    return int(height), int(width)
