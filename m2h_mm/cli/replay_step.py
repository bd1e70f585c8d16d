"""Take a training step again that was not finite.

The training has written CONFIG and SNAPSHOT into its work dir. Prints the losses then and now, the
first module with an output that is not finite, the parameters whose gradient is not, and what each
frame gives alone. Ends with status 1 if the step is finite this time.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2h_mm.cli.command import add_cfg_options, make_parser, run_command

if TYPE_CHECKING:
    from m2h_mm.engine.snapshot import Replay


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm replay-step CONFIG SNAPSHOT``; returns the exit status."""
    return run_command(replay_step, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('replay-step', __doc__)
    parser.add_argument('config', help="the config in the training's work dir")
    parser.add_argument('snapshot', help='nonfinite_iter_<n>.pt beside it')
    add_cfg_options(parser, 'override config values, to see whether it is finite with them')
    return parser.parse_args(argv)


def replay_step(args: argparse.Namespace) -> int:
    """Status 1 if the step is finite now."""
    from mmengine.device import get_device
    from mmengine.optim import build_optim_wrapper

    from m2h_mm.engine.checkpoints import read_checkpoint
    from m2h_mm.engine.config import load_config
    from m2h_mm.engine.snapshot import replay
    from m2h_mm.models.optimize import optimize
    from m2h_mm.registry import MODELS

    cfg = load_config(args.config, args.cfg_options)
    snapshot = read_checkpoint(Path(args.snapshot))
    cfg.model.backbone.init_cfg = None  # the snapshot has all weights
    model = MODELS.build(cfg.model).to(get_device())
    hook = (cfg.get('default_hooks') or {}).get('optimize')
    if hook and hook.get('enabled', True):  # as the training did
        optimize(model, training=True)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    found = replay(model, snapshot, lambda: wrapper.optim_context(model))
    print_replay(snapshot, found)
    finite = all(math.isfinite(value) for losses in found.losses for value in losses.values())
    if finite and not found.parameters:
        print('The step is finite now.')
        return 1
    return 0


def print_replay(snapshot: Mapping[str, Any], found: Replay) -> None:
    """A table of losses per forward pass, then what is not finite."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for step, then, now, frames in zip(
        snapshot['steps'], snapshot['losses'], found.losses, found.frames, strict=True
    ):
        table = Table(title=f'Iteration {snapshot["iteration"]}')
        for column in ('loss', 'then', 'now'):
            table.add_column(column, justify='left' if column == 'loss' else 'right')
        for key, value in now.items():
            table.add_row(
                key,
                f'{then.get(key, math.nan):.6g}',
                f'{value:.6g}',
                style=None if math.isfinite(value) else 'red',
            )
        console.print(table)
        for sample, bad in zip(step['batch']['data_samples'], frames, strict=True):
            name = sample['metainfo'].get('frame_id', '?')
            console.print(
                f'frame {name} alone: {", ".join(bad) or "finite"}', highlight=False, soft_wrap=True
            )
    console.print(f'first output that is not finite: {found.module or "none"}', highlight=False)
    console.print(
        f'gradients that are not finite: {len(found.parameters)} {found.parameters[:5]}',
        highlight=False,
        soft_wrap=True,
    )
