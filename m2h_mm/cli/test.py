"""Evaluate a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.cli.command import (
    add_cfg_options,
    add_config,
    add_launcher,
    add_overwrite,
    make_parser,
    run_command,
)
from m2h_mm.cli.model_arguments import choose_checkpoint

if TYPE_CHECKING:
    from mmengine.config import Config


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm test CONFIG [CHECKPOINT]``; returns the exit status."""
    return run_command(test, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('test', __doc__)
    add_config(parser)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint, or a work dir, whose last checkpoint is taken (the model that comes with '
        'the package)',
    )
    parser.add_argument(
        '--tasks',
        nargs='+',
        metavar='TASK',
        help='those that the model was trained with, if not all',
    )
    parser.add_argument('--work-dir', help='where logs go (work_dirs/<config name>)')
    parser.add_argument(
        '--out',
        metavar='JSON',
        help='write the metrics, the config, the checkpoint and its hash, versions, ... to this '
        'file',
    )
    parser.add_argument(
        '--show-dir', metavar='DIR', help="draw every frame's predictions into this folder"
    )
    parser.add_argument(
        '--save-preds',
        metavar='DIR',
        help="write every frame's predictions to DIR/<task>/<frame id>, labelled or not; each "
        'task has its format: depth and normals .npy, the others .png',
    )
    parser.add_argument(
        '--preds-format',
        choices=['png', 'npy'],
        help='one format for all tasks: png is compact (depth in 16-bit millimetres, normals and '
        'probabilities in 8 bits), npy is exact',
    )
    parser.add_argument(
        '--compare-constant',
        action='store_true',
        help='beside the metrics, those of the best constant guess (majority class, mean depth, '
        '...)',
    )
    add_overwrite(parser)
    add_cfg_options(parser)
    add_launcher(parser)
    args = parser.parse_args(argv)
    if args.preds_format and not args.save_preds:
        parser.error('--preds-format: there is nothing to save without --save-preds DIR')
    return args


def test(args: argparse.Namespace) -> None:
    from mmengine.dist import is_main_process

    from m2h_mm.cli.metric_table import print_metrics
    from m2h_mm.engine import build_runner, leave_processes
    from m2h_mm.engine.checkpoints import load_weights, unwrap
    from m2h_mm.engine.config import load_config
    from m2h_mm.engine.config_copy import copy_by_time
    from m2h_mm.evaluation import evaluate_constant_predictor
    from m2h_mm.evaluation.report import build_report, describe_checkpoint, write_report
    from m2h_mm.inference.shipped import shipped_model
    from m2h_mm.registry import DATASETS
    from m2h_mm.system.outputs import require_free

    checkpoint = choose_checkpoint(args.checkpoint or shipped_model())
    require_free(filter(None, [args.out]), [args.config, checkpoint], args.overwrite)
    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.tasks, args.ablation)
    apply_flags(cfg, args)
    runner = build_runner(copy_by_time(cfg))
    load_weights(runner.model, checkpoint)
    metrics = runner.test()
    tasks = unwrap(runner.model).tasks
    constant = None
    if args.compare_constant:
        train_set = DATASETS.build(
            dict(cfg.train_dataloader.dataset, pipeline=cfg.test_dataloader.dataset.pipeline)
        )
        constant = evaluate_constant_predictor(
            tasks, train_set, runner.test_dataloader, runner.test_evaluator
        )
    main_process = is_main_process()
    evaluator, num_frames = runner.test_evaluator, len(runner.test_dataloader.dataset)
    del runner  # the processes part when nothing refers to it
    leave_processes()
    if not main_process:
        return

    print_metrics(metrics, constant, tasks)
    if args.show_dir:
        print(f'Pictures: {Path(args.show_dir).resolve()}')
    if args.save_preds:
        print(f'Predictions: {Path(args.save_preds).resolve()}')
    if args.out:
        more = {} if constant is None else dict(constant_predictor=constant)
        report = build_report(
            metrics,
            evaluator,
            num_frames,
            config=args.config,
            config_text=cfg.pretty_text,
            **describe_checkpoint(checkpoint),
            **more,
        )
        write_report(args.out, report)
        print(f'Metrics: {Path(args.out).resolve()}')


def apply_flags(cfg: Config, args: argparse.Namespace) -> None:
    """Write the command line's flags into the config.

    Raises:
        ValueError: pictures are to be drawn among the predictions.
    """
    cfg.launcher = args.launcher
    if args.show_dir and args.save_preds:
        folders = {Path(args.save_preds, name).resolve() for name in cfg.get('tasks') or ()}
        if Path(args.show_dir).resolve() in folders:
            raise ValueError(
                f'--show-dir: {args.show_dir} is the folder of the predictions of a task, among '
                'which pictures would be taken for some. Choose another folder.'
            )
    if args.show_dir:
        cfg.default_hooks.visualization.show_dir = args.show_dir
        cfg.default_hooks.visualization.overwrite = args.overwrite
    if args.save_preds:
        suffix = f'.{args.preds_format}' if args.preds_format else None
        cfg.custom_hooks = [
            *cfg.get('custom_hooks', []),
            dict(
                type='SavePredictionsHook',
                out_dir=args.save_preds,
                suffix=suffix,
                overwrite=args.overwrite,
            ),
        ]
    cfg.runner_type = 'Runner'  # a model that was trained in shares is tested as a whole
