"""Print a config with everything it inherits: ``python tools/misc/print_config.py CONFIG``."""

import argparse

from mmengine.config import DictAction

from m2h_mm.cli.common import plain_errors
from m2h_mm.engine.config import load_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override config values',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    print(load_config(args.config, args.cfg_options).pretty_text)


if __name__ == '__main__':
    with plain_errors():
        main()
