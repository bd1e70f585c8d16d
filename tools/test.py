"""Evaluate a model: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
from pathlib import Path

from mmengine.config import DictAction
from mmengine.dist import is_main_process

from m2h_mm.cli.common import plain_errors, print_metrics
from m2h_mm.engine import build_runner, install, leave_processes
from m2h_mm.engine.checkpoint_search import describe, find_checkpoint
from m2h_mm.engine.checkpoints import load_weights, unwrap
from m2h_mm.engine.config import load_config
from m2h_mm.evaluation import evaluate_constant_predictor
from m2h_mm.evaluation.report import build_report, describe_checkpoint, write_report
from m2h_mm.registry import DATASETS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        'checkpoint', help='checkpoint, or a work dir, whose last checkpoint is taken'
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
        help='write the metrics, the config, the checkpoint and its hash, '
        'versions, ... to this file',
    )
    parser.add_argument(
        '--show-dir', metavar='DIR', help="draw every frame's predictions into this folder"
    )
    parser.add_argument(
        '--save-preds',
        metavar='DIR',
        help="write every frame's predictions to DIR/<task>/<frame id>, labelled "
        'or not; each task has '
        'its format: depth and normals .npy, the others .png',
    )
    parser.add_argument(
        '--preds-format',
        choices=['png', 'npy'],
        help='one format for all tasks: png is compact (depth in 16-bit '
        'millimetres, normals and '
        'probabilities in 8 bits), npy is exact',
    )
    parser.add_argument(
        '--compare-constant',
        action='store_true',
        help='beside the metrics, those of the best constant guess (majority '
        'class, mean depth, ...)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override config values',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed test are started',
    )
    args = parser.parse_args()
    if args.preds_format and not args.save_preds:
        parser.error('--preds-format: there is nothing to save without --save-preds DIR')
    return args


def main() -> None:
    args = parse_args()
    install()
    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.tasks)
    cfg.launcher = args.launcher
    checkpoint = args.checkpoint
    if Path(checkpoint).is_dir():
        checkpoint, damaged = find_checkpoint(args.checkpoint)
        if damaged or checkpoint is None:
            raise ValueError(
                f'{args.checkpoint} has no whole checkpoint that is its '
                f'last:\n{describe(damaged)}\n'
                'Name the one to be '
                f'tested{f", such as {checkpoint}" if checkpoint else ""}.'
            )
    if args.show_dir:
        cfg.default_hooks.visualization.show_dir = args.show_dir
    if args.save_preds:
        suffix = f'.{args.preds_format}' if args.preds_format else None
        cfg.custom_hooks = [
            *cfg.get('custom_hooks', []),
            dict(type='SavePredictionsHook', out_dir=args.save_preds, suffix=suffix),
        ]

    cfg.runner_type = 'Runner'  # a model that was trained in shares is tested as a whole
    runner = build_runner(cfg)
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
    evaluator, num_frames = runner.test_evaluator, len(runner.test_dataloader.dataset)
    main_process = is_main_process()
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


if __name__ == '__main__':
    with plain_errors():
        main()
