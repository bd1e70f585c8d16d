"""Train a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.cli.command import add_cfg_options, add_config, add_launcher, make_parser, run_command

if TYPE_CHECKING:
    from mmengine.config import Config


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm train CONFIG``; returns the exit status."""
    return run_command(train, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('train', __doc__)
    add_config(parser)
    parser.add_argument(
        '--tasks',
        nargs='+',
        metavar='TASK',
        help='train a model of these tasks alone, all else equal; of one: its single-task model',
    )
    parser.add_argument(
        '--work-dir', help='where logs, checkpoints and pictures go (work_dirs/<config name>)'
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        '--overwrite',
        action='store_true',
        help='start afresh where another training has left checkpoints, and delete them',
    )
    start.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on from CKPT or, without one, from the newest valid checkpoint of the work dir',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 with loss scaling on a GPU, bfloat16 on a CPU; '
        '--cfg-options optim_wrapper.dtype=bfloat16 on both',
    )
    parser.add_argument(
        '--no-validate', action='store_true', help='do not evaluate during training'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate by the actual batch size over the config's auto_scale_lr",
    )
    add_cfg_options(
        parser, 'override config values: train_cfg.max_iters=100 model.freeze_backbone=False'
    )
    add_launcher(parser)
    return parser.parse_args(argv)


def train(args: argparse.Namespace) -> None:
    from m2h_mm.engine import build_runner, leave_processes, refuse_replaced_switches
    from m2h_mm.engine.config import load_config
    from m2h_mm.engine.config_copy import spare_file
    from m2h_mm.engine.work_dir import work_dir_of_one_training

    options = args.cfg_options
    if args.amp:  # with the options, some of which only this wrapper takes
        options = {**options, 'optim_wrapper.type': 'AutocastOptimWrapper'}
    cfg = load_config(args.config, options, args.work_dir, args.tasks, args.ablation)
    apply_flags(cfg, args)
    refuse_replaced_switches(cfg)
    with work_dir_of_one_training(cfg, args.overwrite):
        build_runner(spare_file(cfg)).train()
    leave_processes()


def apply_flags(cfg: Config, args: argparse.Namespace) -> None:
    """Write the command line's flags into the config.

    Raises:
        FileNotFoundError: there is no checkpoint to resume from.
        ValueError: the config does not say what a flag needs.
    """
    cfg.launcher = args.launcher
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
        if cfg.load_from and not Path(cfg.load_from).is_file():
            raise FileNotFoundError(
                f'--resume: there is no checkpoint {cfg.load_from}. Without a path, --resume '
                f'goes on from the newest one in {cfg.work_dir}.'
            )
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.default_hooks.checkpoint.pop('save_best', None)
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError(
                '--auto-scale-lr: the config has no auto_scale_lr.base_batch_size. Add '
                'auto_scale_lr=dict(base_batch_size=8), the batch size its learning rate is '
                'meant for.'
            )
        cfg.auto_scale_lr.enable = True
