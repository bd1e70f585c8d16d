"""Draw the predictions of several runs side by side, with the ground truth and their errors.

    python tools/analysis_tools/compare.py data/NYUDv2 --dataset nyud \\
        --preds M2H=work_dirs/m2h/preds MTI-Net=work_dirs/mti_net/preds --out-dir work_dirs/compare

No model is needed: PREDS/<task>/<frame id>.png, .npy or .mat are what tools/test.py --save-preds
writes, or any other program.
"""

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import DictAction
from rich.progress import track

from m2h_mm.cli.common import plain_errors, select_tasks
from m2h_mm.datasets import MultiTaskDataset
from m2h_mm.engine.config import dataset_names, read_dataset_config
from m2h_mm.evaluation.prediction_files import index_predictions, read_prediction
from m2h_mm.registry import DATASETS
from m2h_mm.tasks import Task
from m2h_mm.visualization import save_picture, spread
from m2h_mm.visualization.comparison import draw_comparison
from m2h_mm.visualization.error_maps import mean_error

NAMED = 5


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'gt_root', nargs='?', help='data_root of the data set (may be left out with --config)'
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--dataset', choices=dataset_names(), help='the data set')
    source.add_argument('--config', help='take test_dataloader.dataset from this config')
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
    parser.add_argument(
        '--panel-size',
        type=int,
        default=320,
        metavar='PIXELS',
        help='longest side of a panel (%(default)s)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override config values',
    )
    args = parser.parse_args()
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
            f'--class-offset: expected 1 number or one for each of the {len(args.preds)} '
            'runs, got '
            f'{len(args.class_offset)}'
        )
    return args


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
                f'--preds: the name {name!r} is given twice, for {runs[name]} and '
                f'{folder}. Each run '
                'needs its own.'
            )
        other = next(
            (other for other, path in runs.items() if path.resolve() == Path(folder).resolve()),
            None,
        )
        if other is not None:
            raise ValueError(
                f'--preds: {other!r} and {name!r} are the same folder, {folder}. Give '
                'each run once.'
            )
        runs[name] = Path(folder)
    return runs


def build_dataset(args: argparse.Namespace) -> MultiTaskDataset:
    """The data set of the command line, without augmentation."""
    cfg = read_dataset_config(args.dataset, args.config, args.cfg_options, args.gt_root, args.split)
    dataset = DATASETS.build(
        dict(
            cfg.test_dataloader.dataset,
            pipeline=[dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')],
        )
    )
    if not isinstance(dataset, MultiTaskDataset):
        raise ValueError(
            'test_dataloader.dataset: expected a MultiTaskDataset, got '
            f'{type(dataset).__name__}. Compare '
            'on the data sets one by one.'
        )
    return dataset


class Comparison:
    """The runs, the data set and what of them belongs together.

    Args:
        dataset: with the labels.
        tasks: name to task, those to draw.
        runs: name to folder.
        offsets: number of the first class in the files of each run.

    Raises:
        FileNotFoundError: a folder that is not there or has no task in it.
        ValueError: a folder without a file of a frame of the split.
    """

    def __init__(
        self,
        dataset: MultiTaskDataset,
        tasks: Mapping[str, Task],
        runs: Mapping[str, Path],
        offsets: Sequence[int],
    ) -> None:
        self.dataset = dataset
        self.positions = {
            dataset.get_data_info(index)['frame_id']: index for index in range(len(dataset))
        }
        self.found = {run: index_predictions(folder, tasks) for run, folder in runs.items()}
        self.offsets = dict(zip(runs, offsets, strict=True))
        self.tasks = {
            name: task
            for name, task in tasks.items()
            if any(name in files for files in self.found.values())
        }
        self.unreadable: dict[Path, str] = {}
        for run, files in self.found.items():
            ids = {frame_id for paths in files.values() for frame_id in paths}
            if not ids & self.positions.keys():
                got = f'they are of {sorted(ids)[:NAMED]}' if ids else 'they hold none'
                raise ValueError(
                    f'{runs[run]} ({run}): looked for .png, .npy and .mat of the '
                    f'split {dataset.split!r} '
                    f'({list(self.positions)[:NAMED]}, ...) in the folders of '
                    f'{list(files)}; {got}.'
                )

    def common_frames(self, task: str | None = None) -> list[str]:
        """Frames, in the order of the split, that every run has a prediction of (for ``task``).

        Raises:
            ValueError: there is none.
        """
        sets = [
            set(files.get(task, ()))
            if task
            else {frame_id for paths in files.values() for frame_id in paths}
            for files in self.found.values()
        ]
        common = [frame_id for frame_id in self.positions if all(frame_id in ids for ids in sets)]
        if not common:
            counts = ', '.join(
                f'{run} {len(ids & self.positions.keys())}'
                for run, ids in zip(self.found, sets, strict=True)
            )
            raise ValueError(
                'No frame has a prediction of every '
                f'run{f" for {task!r}" if task else ""}. Frames of the '
                f'split {self.dataset.split!r}: {len(self.positions)}; with a '
                f'prediction: {counts}. '
                '--frames ID draws frames that some runs lack.'
            )
        return common

    def prediction(self, run: str, task: str, frame_id: str) -> np.ndarray | str:
        """What a file holds, or why there is nothing."""
        path = self.found[run].get(task, {}).get(frame_id)
        if path is None:
            return 'no prediction'
        try:
            return read_prediction(self.tasks[task], path, self.offsets[run])
        except ValueError as error:
            self.unreadable[path] = str(error)
            return 'file cannot be read'

    def draw(self, frame_id: str, panel_size: int) -> np.ndarray:
        """The picture of a frame."""
        frame = self.dataset[self.positions[frame_id]]
        labels = {
            name: frame[task.gt_field]
            for name, task in self.tasks.items()
            if task.gt_field in frame
        }
        maps = {
            run: {name: self.prediction(run, name, frame_id) for name in self.tasks}
            for run in self.found
        }
        classes = self.dataset.metainfo.get('classes') or ()
        return draw_comparison(
            frame['img'], self.tasks, labels, maps, frame_id, classes, panel_size
        )

    def mean_errors(self, task: str, frame_id: str) -> list[float]:
        """Mean error of each run in a frame; NaN where it cannot be said."""
        frame = self.dataset[self.positions[frame_id]]
        label = frame.get(self.tasks[task].gt_field)
        maps = [self.prediction(run, task, frame_id) for run in self.found]
        return [
            mean_error(self.tasks[task].error(map, label))
            if label is not None
            and isinstance(map, np.ndarray)
            and map.shape[:2] == label.shape[:2]
            else np.nan
            for map in maps
        ]


def choose_frames(comparison: Comparison, args: argparse.Namespace) -> list[str]:
    """Ids of the frames to draw.

    Raises:
        ValueError: a frame or a task that is not there, or no frame to choose from.
    """
    if args.frames:
        unknown = [frame_id for frame_id in args.frames if frame_id not in comparison.positions]
        if unknown:
            close = difflib.get_close_matches(unknown[0], comparison.positions, n=NAMED)
            raise ValueError(
                f'--frames: {unknown} are not in the split '
                f'{comparison.dataset.split!r} of '
                f'{comparison.dataset.data_root}; it has '
                f'{close or list(comparison.positions)[:NAMED]}, '
                '...'
            )
        return list(dict.fromkeys(args.frames))
    task = args.worst or args.differ
    if task is None:
        common = comparison.common_frames()
        return [common[position] for position in spread(len(common), args.num_frames)]
    if task not in comparison.tasks:
        option = '--worst' if args.worst else '--differ'
        raise ValueError(
            f'{option}: expected one of {list(comparison.tasks)}, the tasks that are '
            f'drawn, got {task!r}.'
        )
    common = comparison.common_frames(task)
    errors = np.array(
        [
            comparison.mean_errors(task, frame_id)
            for frame_id in track(common, description='Measuring')
        ]
    )
    rank = errors[:, 0] if args.worst else errors.max(axis=1) - errors.min(axis=1)
    measured = np.flatnonzero(~np.isnan(rank))
    if not measured.size:
        raise ValueError(
            f'No frame of {comparison.dataset.data_root} ({comparison.dataset.split}) '
            'has a label for '
            f'{task!r} and a prediction of its size.'
        )
    order = measured[np.argsort(-rank[measured], kind='stable')]
    return [common[position] for position in order[: args.num_frames]]


def main() -> None:
    args = parse_args()
    runs = parse_runs(args.preds)
    dataset = build_dataset(args)
    offsets = args.class_offset * (len(runs) // len(args.class_offset))
    comparison = Comparison(dataset, select_tasks(dataset.tasks, args.tasks), runs, offsets)
    out_dir = Path(args.out_dir).resolve()
    chosen = choose_frames(comparison, args)
    for frame_id in track(chosen, description='Drawing'):
        # Ids with slashes would scatter the pictures over folders.
        save_picture(
            comparison.draw(frame_id, args.panel_size),
            out_dir / f'{frame_id.replace("/", "-")}.png',
        )
    for message in list(comparison.unreadable.values())[:NAMED]:
        print(f'Left out: {message}')
    if len(comparison.unreadable) > NAMED:
        print(f'... and {len(comparison.unreadable) - NAMED} files more that cannot be read.')
    print(f'{len(chosen)} of {len(dataset)} frames, {", ".join(comparison.tasks)}: {out_dir}')


if __name__ == '__main__':
    with plain_errors():
        main()
