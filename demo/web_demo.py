"""A page in the browser: ``python demo/web_demo.py CHECKPOINT``, then open the address.

Drop an image, see its maps and its surface in space, download them. Several models, to choose among
on the page, are given one after the other. The page is seen from this machine alone unless
--host says otherwise, and works without internet.
"""

import argparse
import contextlib
import signal
import threading

from m2h_mm.cli.common import plain_errors
from m2h_mm.cli.web.results import load_models


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'checkpoints',
        nargs='+',
        metavar='CHECKPOINT',
        help="of a training, or one of the authors of M2H's",
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
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (a GPU where there is one)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        from m2h_mm.cli.web.page import serving
    except ImportError as error:
        raise SystemExit(f'error: {error}') from None
    models = load_models(args.checkpoints, args.config, args.device)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # temporary files go then, too
    with contextlib.suppress(KeyboardInterrupt), serving(models, args.host, args.port) as address:
        print(f'Page: {address}  (Ctrl-C ends it)', flush=True)
        threading.Event().wait()


if __name__ == '__main__':
    with plain_errors():
        main()
