"""Options of the commands that run a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m2h_mm.inference import M2HInferencer

# As in m2h_mm.models.pipeline and m2h_mm.inference.inferencer, which take seconds to be imported; a
# test compares them.
TEST, NATIVE, FIT = 'test', 'native', 'fit'
DTYPES = ('fp32', 'bf16', 'fp16')
CHECKPOINT_HELP = (
    'of a training (or its work dir, whose last one is taken), a published file, or one of the '
    'authors of M2H, M2H-MX or TaskPrompter (the model that comes with the package)'
)


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
    parser.add_argument(
        '--flip',
        action='store_true',
        help='take the mean over each image and its mirror image: better maps in twice the time',
    )
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument(
        '--intrinsics',
        nargs=4,
        type=float,
        metavar=('FX', 'FY', 'CX', 'CY'),
        help='of the camera, in pixels of the image (what a photo notes of itself)',
    )
    camera.add_argument(
        '--fov', type=float, metavar='DEGREES', help='its horizontal field of view instead'
    )
    parser.add_argument('--dtype', choices=DTYPES, default='fp32', help='(%(default)s)')
    add_device(parser)


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """``CHECKPOINT``, and ``--config`` for one that does not say which model it is of."""
    parser.add_argument('checkpoint', nargs='?', help=CHECKPOINT_HELP)
    add_config_of_checkpoint(parser)


def add_config_of_checkpoint(parser: argparse.ArgumentParser) -> None:
    """``--config``, for a checkpoint that does not say which model it is of."""
    parser.add_argument(
        '--config',
        help='name or path of a config that takes the place of what the checkpoint says of its '
        'model',
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device``."""
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (a GPU where there is one)')


def add_stabilise(parser: argparse.ArgumentParser) -> None:
    """``--stabilise``."""
    parser.add_argument(
        '--stabilise',
        action='store_true',
        help='the images are frames of a video, in order: keep their maps from flickering',
    )


def build_inferencer(args: argparse.Namespace, **settings) -> M2HInferencer:
    """The inferencer of the command line; ``settings`` are further arguments of it."""
    from m2h_mm.inference import M2HInferencer

    camera = getattr(args, 'intrinsics', None) or getattr(args, 'fov', None)
    if getattr(args, 'flip', False):
        settings['options'] = {'model.data_preprocessor.test_flip': True}
    checkpoint = args.checkpoint and choose_checkpoint(args.checkpoint)
    return M2HInferencer(checkpoint, args.config, args.device, camera=camera, **settings)


def choose_checkpoint(path: str | Path) -> str | Path:
    """A checkpoint, or the last one of a work dir.

    Raises:
        ValueError: a work dir whose last checkpoint is damaged, or that has none.
    """
    from m2h_mm.engine.checkpoint_search import describe_skipped, find_checkpoint

    if not Path(path).is_dir():
        return path
    checkpoint, damaged = find_checkpoint(path)
    if damaged or checkpoint is None:
        example = f', such as {checkpoint}' if checkpoint else ''
        raise ValueError(
            f'{path} has no whole checkpoint that is its last:\n{describe_skipped(damaged)}\n'
            f'Name the one that is meant{example}.'
        )
    return checkpoint


def parse_size(text: str) -> str | tuple[int, int]:
    """``'448x576'`` to (448, 576); names as they are.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    if text in (TEST, NATIVE, FIT):
        return text
    try:
        return parse_pixels(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f'expected {TEST}, {NATIVE}, {FIT} or HEIGHTxWIDTH such as 448x576, got {text[:50]!r}'
        ) from None


def parse_pixels(text: str) -> tuple[int, int]:
    """``'448x576'`` to (448, 576).

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    height, _, width = text.partition('x')
    sides = (height, width)
    if not all(side.isdecimal() and len(side) < 10 and int(side) for side in sides):
        raise argparse.ArgumentTypeError(
            f'expected HEIGHTxWIDTH in pixels, such as 448x576, got {text[:50]!r}'
        )
    return int(height), int(width)
