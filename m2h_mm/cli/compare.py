"""Draw the predictions of several runs side by side, with the ground truth and their errors.

    m2h-mm compare data/NYUDv2 --dataset nyud \\
        --preds M2H=work_dirs/m2h/preds MTI-Net=work_dirs/mti_net/preds --out-dir work_dirs/compare

No model is needed: PREDS/<task>/<frame id>.png, .npy or .mat are what m2h-mm test --save-preds
writes, or any other program.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.cli.command import (
    add_cfg_options,
    add_label_format,
    add_labelled_data,
    add_overwrite,
    make_parser,
    run_command,
    select_tasks,
    state_label_formats,
)

if TYPE_CHECKING:
    from m2h_mm.datasets import MultiTaskDataset

NAMED = 5


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm compare LABELS --dataset NAME --preds NAME=DIR ...``; returns the exit status."""
    return run_command(compare, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('compare', __doc__)
    parser.add_argument(
        'gt_root', nargs='?', help='data_root of the data set (may be left out with --config)'
    )
    add_labelled_data(parser)
    parser.add_argument(
        '--preds', nargs='+', required=True, metavar='NAME=DIR', help='the runs, in this order'
    )
    parser.add_argument(
        '--out-dir', default='work_dirs/compare', metavar='DIR', help='where to (%(default)s)'
    )
    parser.add_argument('--split', help="split of the data set (the config's, mostly val)")
    parser.add_argument('--tasks', nargs='+', metavar='TASK', help='draw these only')
    parser.add_argument(
        '--num-frames',
        type=int,
        default=8,
        metavar='N',
        help='draw N of the frames that all runs have, spread evenly over the split (%(default)s)',
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--frames', nargs='+', metavar='ID', help='draw these frames instead')
    which.add_argument(
        '--worst', metavar='TASK', help='draw the N frames where the first run errs most'
    )
    which.add_argument(
        '--differ',
        metavar='TASK',
        help='draw the N frames where the errors of the runs differ most',
    )
    parser.add_argument(
        '--class-offset',
        nargs='+',
        type=int,
        choices=[0, 1],
        default=[0],
        metavar='0|1',
        help='number of the first class in the files of semseg: of all runs, or one per run (0)',
    )
    add_label_format(
        parser,
        '--prediction-format',
        'the files of all runs, or with RUN: in front of TASK those of one, are to be read, if not '
        'as ours',
    )
    add_label_format(parser)
    parser.add_argument(
        '--panel-size',
        type=int,
        default=320,
        metavar='PIXELS',
        help='longest side of a panel (%(default)s)',
    )
    add_overwrite(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.dataset and not args.gt_root:
        parser.error('--dataset needs GT_ROOT, the folder of the labels, in front of the options')
    if args.num_frames < 1:
        parser.error(f'--num-frames: expected 1 or more, got {args.num_frames}')
    if args.panel_size < 64:
        parser.error(f'--panel-size: expected 64 pixels or more, got {args.panel_size}')
    if args.differ and len(args.preds) < 2:
        parser.error(
            '--differ: expected two runs or more in --preds, got 1; --worst ranks the frames of one'
        )
    if len(args.class_offset) not in (1, len(args.preds)):
        parser.error(
            f'--class-offset: expected 1 number or one for each of the {len(args.preds)} runs, '
            f'got {len(args.class_offset)}'
        )
    return args


def compare(args: argparse.Namespace) -> None:
    from rich.progress import track

    from m2h_mm.experiments.run_comparison import RunComparison
    from m2h_mm.system.outputs import require_free
    from m2h_mm.visualization import save_picture

    runs = parse_runs(args.preds)
    dataset = build_dataset(args)
    offsets = args.class_offset * (len(runs) // len(args.class_offset))
    formats = formats_of_runs(args.prediction_format, runs, dataset.metainfo.get('palette'))
    comparison = RunComparison(
        dataset, select_tasks(dataset.tasks, args.tasks), runs, offsets, formats
    )
    out_dir = Path(args.out_dir).resolve()
    if args.frames:
        chosen = comparison.named_frames(args.frames)
    elif args.worst:
        chosen = comparison.worst_frames('--worst', args.worst, args.num_frames)
    elif args.differ:
        chosen = comparison.worst_frames('--differ', args.differ, args.num_frames)
    else:
        chosen = comparison.spread_frames(args.num_frames)
    pictures = {frame_id: out_dir / f'{frame_id}.png' for frame_id in chosen}
    require_free(pictures.values(), comparison.read(), args.overwrite)
    for frame_id, path in track(pictures.items(), description='Drawing'):
        save_picture(comparison.draw(frame_id, args.panel_size), path)
    for message in list(comparison.unreadable.values())[:NAMED]:
        print(f'Left out: {message}')
    if len(comparison.unreadable) > NAMED:
        print(f'... and {len(comparison.unreadable) - NAMED} files more that cannot be read.')
    print(f'{len(chosen)} of {len(dataset)} frames, {", ".join(comparison.tasks)}: {out_dir}')


def parse_runs(items: Sequence[str]) -> dict[str, Path]:
    """``['M2H=work_dirs/m2h/preds', ...]`` as name to folder.

    Raises:
        ValueError: no name or no folder, a name or a folder that is given twice.
    """
    runs: dict[str, Path] = {}
    for item in items:
        name, _, folder = (part.strip() for part in item.partition('='))
        if not name or not folder:
            raise ValueError(
                f'--preds: expected NAME=DIR, such as M2H=work_dirs/m2h/preds, got {item!r}.'
            )
        if name in runs:
            raise ValueError(
                f'--preds: the name {name!r} is given twice, for {runs[name]} and {folder}. Each '
                'run needs its own.'
            )
        other = next(
            (other for other, path in runs.items() if path.resolve() == Path(folder).resolve()),
            None,
        )
        if other is not None:
            raise ValueError(
                f'--preds: {other!r} and {name!r} are the same folder, {folder}. Give each run '
                'once.'
            )
        runs[name] = Path(folder)
    return runs


def formats_of_runs(
    formats: Mapping[str, Mapping], runs: Collection[str], palette: Sequence | None
) -> dict[str, dict[str, dict]]:
    """``{'A:edge': {'yes': 1}}`` as run to task to what is stated; without a run, it is of all.

    Raises:
        ValueError: a run that is not there.
    """
    from m2h_mm.datasets.label_formats import with_palette

    stated: dict[str, dict[str, dict]] = {run: {} for run in runs}
    for key, settings in formats.items():
        run, colon, task = key.rpartition(':')
        if colon and run not in stated:
            raise ValueError(f'--prediction-format {key}: expected a run of {list(runs)}.')
        for one in [run] if colon else runs:
            stated[one].setdefault(task, {}).update(with_palette(task, settings, palette))
    return stated


def build_dataset(args: argparse.Namespace) -> MultiTaskDataset:
    """The data set of the command line, without augmentation.

    Raises:
        ValueError: one that is made of others.
    """
    from m2h_mm.datasets import MultiTaskDataset
    from m2h_mm.engine.config import read_dataset_config
    from m2h_mm.registry import DATASETS

    cfg = read_dataset_config(args.dataset, args.config, args.cfg_options, args.gt_root, args.split)
    state_label_formats(cfg.test_dataloader.dataset, args.label_format)
    dataset = DATASETS.build(
        dict(
            cfg.test_dataloader.dataset,
            pipeline=[dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')],
        )
    )
    if not isinstance(dataset, MultiTaskDataset):
        raise ValueError(
            'test_dataloader.dataset: expected a MultiTaskDataset, got '
            f'{type(dataset).__name__}. Compare on the data sets one by one.'
        )
    return dataset
