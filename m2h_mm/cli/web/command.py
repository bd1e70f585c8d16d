"""Show a page in the browser that predicts the maps of an image.

Drop an image, see its maps and its surface in space, download them. Several models, to choose among
on the page, are given one after the other. The page is seen from this machine alone unless --host
says otherwise, and works without internet.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Sequence

from m2h_mm.cli.command import make_parser, run_command
from m2h_mm.cli.model_arguments import CHECKPOINT_HELP, add_device


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm web [CHECKPOINT ...]``; returns the exit status."""
    return run_command(serve, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('web', __doc__)
    parser.add_argument(
        'checkpoints',
        nargs='*',
        metavar='CHECKPOINT',
        help=CHECKPOINT_HELP,
    )
    parser.add_argument(
        '--config',
        nargs='+',
        help='names or paths of configs, one per checkpoint, that take the place of what the '
        'checkpoints say of their models',
    )
    parser.add_argument(
        '--host', default='127.0.0.1', help='address to listen at; 0.0.0.0: all (%(default)s)'
    )
    parser.add_argument('--port', type=int, default=7860, help='(%(default)s)')
    add_device(parser)
    return parser.parse_args(argv)


def serve(args: argparse.Namespace) -> int:
    """Until Ctrl-C or SIGTERM; status 1 without Gradio."""
    try:
        from m2h_mm.cli.web.page import serving
    except ImportError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    from m2h_mm.cli.web.results import load_models
    from m2h_mm.inference.shipped import shipped_model

    models = load_models(args.checkpoints or [shipped_model()], args.config, args.device)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # temporary files go then, too
    with contextlib.suppress(KeyboardInterrupt), serving(models, args.host, args.port) as address:
        print(f'Page: {address}  (Ctrl-C ends it)', flush=True)
        threading.Event().wait()
    return 0
