"""Take a training step again that was not finite: ``python tools/misc/replay_step.py CONFIG
SNAPSHOT``.

The training has written both into its work dir. Prints the losses then and now, the first module
with an output that is not finite, the parameters whose gradient is not, and what each frame gives
alone. Ends with status 1 if the step is finite this time.
"""

import argparse
import math
from pathlib import Path

from mmengine.config import DictAction
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from rich.console import Console
from rich.table import Table

from m2h_mm.cli.common import plain_errors
from m2h_mm.engine.checkpoints import read_checkpoint
from m2h_mm.engine.config import load_config
from m2h_mm.engine.snapshot import Replay, replay
from m2h_mm.registry import MODELS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help="the config in the training's work dir")
    parser.add_argument('snapshot', help='nonfinite_iter_<n>.pt beside it')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override config values, to see whether it is finite with them',
    )
    return parser.parse_args()


def print_replay(console: Console, snapshot: dict, found: Replay) -> None:
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


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    snapshot = read_checkpoint(Path(args.snapshot))
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).to(get_device())
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    found = replay(model, snapshot, lambda: wrapper.optim_context(model))
    print_replay(Console(), snapshot, found)
    if not found.parameters and all(
        math.isfinite(value) for losses in found.losses for value in losses.values()
    ):
        print('The step is finite now.')
        raise SystemExit(1)


if __name__ == '__main__':
    with plain_errors():
        main()
