"""What the programs in demo/ share."""

from __future__ import annotations

import argparse

from m2h_mm.inference.inferencer import DTYPES
from m2h_mm.models.pipeline import FIT, NATIVE, TEST


def add_model_arguments(parser: argparse.ArgumentParser, tasks: bool = True) -> None:
    """Which model is to be run, and how; ``tasks``: whether one may choose among its tasks."""
    add_checkpoint_arguments(parser)
    if tasks:
        parser.add_argument('--tasks', nargs='+', metavar='TASK', help='predict these only (all)')
    parser.add_argument(
        '--size',
        type=parse_size,
        default=TEST,
        metavar='SIZE',
        help=f'at which the network sees an image: {TEST}, as it was evaluated; {NATIVE}, as the '
        f"image is; {FIT}, nearest multiples of the network's stride; or HxW in pixels "
        '(%(default)s)',
    )
    parser.add_argument('--dtype', choices=DTYPES, default='fp32', help='(%(default)s)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (a GPU where there is one)')


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """``CHECKPOINT``, and ``--config`` for one that does not say which model it is of."""
    parser.add_argument('checkpoint', help="of a training, or one of the authors of M2H's")
    parser.add_argument(
        '--config',
        help='name or path of a config that takes the place of what the checkpoint says of its '
        'model',
    )


def parse_size(text: str) -> str | tuple[int, int]:
    """``'448x576'`` to (448, 576); names as they are."""
    height, _, width = text.partition('x')
    if text in (TEST, NATIVE, FIT):
        return text
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(
            f'expected {TEST}, {NATIVE}, {FIT} or HEIGHTxWIDTH such as 448x576, got {text!r}'
        )
    return int(height), int(width)
