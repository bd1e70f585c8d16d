"""Print a config with everything it inherits."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from m2h_mm.cli.command import add_cfg_options, add_config, make_parser, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm print-config CONFIG``; returns the exit status."""
    return run_command(print_config, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('print-config', __doc__)
    add_config(parser)
    add_cfg_options(parser)
    return parser.parse_args(argv)


def print_config(args: argparse.Namespace) -> None:
    from m2h_mm.engine.config import load_config

    print(load_config(args.config, args.cfg_options, ablations=args.ablation).pretty_text)
