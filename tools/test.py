"""Evaluate a model: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
import json
from pathlib import Path

from mmengine.config import DictAction
from mmengine.dist import is_main_process
from mmengine.runner import Runner, find_latest_checkpoint

from m2h_mm.evaluation import evaluate_constant_predictor
from m2h_mm.registry import DATASETS
from m2h_mm.utils.checkpoint import load_weights, unwrap
from m2h_mm.utils.cli import load_config, plain_errors, print_metrics, write_atomically


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='checkpoint, or a work dir, whose last checkpoint is taken')
    parser.add_argument('--work-dir', help='where logs go (work_dirs/<config name>)')
    parser.add_argument('--out', metavar='JSON', help='write the metrics, the config and the checkpoint to this file')
    parser.add_argument('--show-dir', metavar='DIR', help="draw every frame's predictions into this folder")
    parser.add_argument('--compare-constant', action='store_true',
                        help='beside the metrics, those of the best constant guess (majority class, mean depth, ...)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE',
                        help='override config values')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='how the processes of a distributed test are started')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    cfg.launcher = args.launcher
    checkpoint = args.checkpoint
    if Path(checkpoint).is_dir():
        checkpoint = find_latest_checkpoint(checkpoint) or checkpoint
    if args.show_dir:
        cfg.default_hooks.visualization.show_dir = args.show_dir

    runner = Runner.from_cfg(cfg)
    load_weights(runner.model, checkpoint)
    metrics = runner.test()
    if not is_main_process():
        return

    tasks = unwrap(runner.model).tasks
    constant = None
    if args.compare_constant:
        train_set = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=cfg.test_dataloader.dataset.pipeline))
        constant = evaluate_constant_predictor(tasks, train_set, runner.test_dataloader, runner.test_evaluator)
    print_metrics(metrics, constant, tasks)
    if args.show_dir:
        print(f'Pictures: {Path(args.show_dir).resolve()}')
    if args.out:
        report = dict(metrics=metrics, config=args.config, checkpoint=str(Path(checkpoint).resolve()))
        if constant is not None:
            report['constant_predictor'] = constant
        write_atomically(args.out, json.dumps(report, indent=2))
        print(f'Metrics: {Path(args.out).resolve()}')


if __name__ == '__main__':
    with plain_errors():
        main()
