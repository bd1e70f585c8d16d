"""Score predictions that any program wrote: ``python tools/analysis_tools/eval_preds.py PREDS
LABELS --dataset nyud``.

No model is needed. The files PREDS/<task>/<frame id>.png, .npy or .mat are compared with the labels
of a data set by the metrics that tools/test.py uses. An interrupted run goes on where it was when
the same command is given again.
"""

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from m2h_mm import __version__
from m2h_mm.cli.common import plain_errors, print_metrics, select_tasks
from m2h_mm.datasets import MultiTaskDataset
from m2h_mm.datasets.files import frame_size
from m2h_mm.datasets.transforms.packing import to_tensor
from m2h_mm.engine.config import dataset_names, read_dataset_config
from m2h_mm.evaluation.prediction_files import (
    Problems,
    ScoredFrame,
    check_predictions,
    folder_names,
    index_predictions,
    prediction_size,
    read_prediction,
)
from m2h_mm.evaluation.report import build_report, write_report
from m2h_mm.evaluation.resumable import ResumableScoring
from m2h_mm.registry import DATASETS, EVALUATOR, METRICS
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Task
from m2h_mm.tasks.pooled_metric import PooledMetric

NAMED = 10
INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('pred_dir', help='folder of the predictions, one folder per task in it')
    parser.add_argument(
        'gt_root', nargs='?', help='data_root of the data set (may be left out with --config)'
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--dataset', choices=dataset_names(), help='the data set and its metrics')
    source.add_argument(
        '--config', help='take test_dataloader.dataset and test_evaluator from this config'
    )
    parser.add_argument(
        '--out', metavar='JSON', help='where the results go (PRED_DIR/results.json)'
    )
    parser.add_argument('--split', help="split of the data set (the config's, mostly val)")
    parser.add_argument('--tasks', nargs='+', metavar='TASK', help='score these only')
    parser.add_argument(
        '--class-offset',
        type=int,
        choices=[0, 1],
        default=0,
        help='number of the first class in the files of semseg (%(default)s)',
    )
    parser.add_argument(
        '--reference',
        nargs='+',
        metavar='FILE',
        help='results.json of single-task models, for the multi-task gain',
    )
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='score what is there, even if files are missing or of the wrong size',
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
        parser.error('--dataset needs GT_ROOT, the folder of the labels')
    return args


class LabelSelection:
    """The first step of the pipeline: of a frame's labels, keep those that are compared with a
    prediction.
    """

    def __init__(self) -> None:
        self.wanted: dict[str, Mapping[str, Path]] = {}

    def __call__(self, results: dict) -> dict:
        wanted = self.wanted[results['frame_id']]
        return {**results, 'label_paths': {name: results['label_paths'][name] for name in wanted}}


def build_dataset(cfg: Config, selection: LabelSelection) -> MultiTaskDataset:
    dataset = DATASETS.build(
        dict(cfg.test_dataloader.dataset, pipeline=[selection, dict(type='LoadMultiTaskLabels')])
    )
    if not isinstance(dataset, MultiTaskDataset):
        raise ValueError(
            'test_dataloader.dataset: expected a MultiTaskDataset, got '
            f'{type(dataset).__name__}. Score '
            'the data sets one by one.'
        )
    return dataset


def build_evaluator(
    cfg: Config, tasks: Mapping[str, Task], reference: Sequence[str] | None
) -> Evaluator:
    """The config's evaluator, with the metrics of ``tasks`` only."""
    settings = cfg.test_evaluator
    settings = (
        dict(settings)
        if isinstance(settings, Mapping) and 'metrics' in settings
        else dict(metrics=settings)
    )
    configs = settings['metrics']
    if isinstance(configs, Mapping):
        configs = (
            [configs]
            if 'type' in configs
            else [config for config in configs.values() if config is not None]
        )
    fields = {task.gt_field for task in tasks.values()}
    metrics = [METRICS.build(config) for config in configs]
    settings['metrics'] = [
        metric
        for metric in metrics
        if isinstance(metric, PooledMetric) and metric.task.gt_field in fields
    ]
    if reference:
        settings.update(type='MultiTaskEvaluator', reference=list(reference))
    return EVALUATOR.build({'type': 'Evaluator', **settings})


def describe(
    pred_dir: Path,
    tasks: Mapping[str, Task],
    found: Mapping[str, Mapping[str, Path]],
    measured: Mapping[str, Task],
) -> str:
    """Which folder and format was taken for each task."""
    lines = [f'Predictions in {pred_dir}:']
    for name, task in tasks.items():
        if name not in found:
            text = (
                f'left out, no folder {" or ".join(f"{folder}/" for folder in folder_names(task))}'
            )
        elif name not in measured:
            text = 'left out, the evaluator has no metric for it'
        elif found[name]:
            first = next(iter(found[name].values()))
            formats = Counter(path.suffix for path in found[name].values())
            folder = first.relative_to(pred_dir).parts[0]
            text = f'{folder}/, ' + ', '.join(
                f'{count} {suffix}' for suffix, count in formats.most_common()
            )
        else:
            text = 'its folder is empty'
        lines.append(f'  {name:<12}{text}')
    return '\n'.join(lines)


def list_problems(problems: Mapping[str, Problems]) -> str:
    """How many files are missing, of the wrong size or damaged, and the first of them by name."""
    lines = []
    for name, found in problems.items():
        listed = (
            ('missing', found.missing),
            (
                'of the wrong size',
                [f'{frame_id} ({size})' for frame_id, size in found.wrong_size.items()],
            ),
            ('damaged', list(found.damaged.values())),
        )
        for what, items in listed:
            if items:
                more = ', ...' if len(items) > NAMED else ''
                lines.append(f'  {name}: {len(items)} {what}: {", ".join(items[:NAMED])}{more}')
    return '\n'.join(lines)


def require_sound(problems: Mapping[str, Problems], out: Path, allow_missing: bool) -> None:
    """Stop before the work starts if not every label has its prediction.

    Raises:
        ValueError: damaged files; or, unless allowed, missing ones or ones of the wrong size.
    """
    listing = out.with_suffix('.problems.json')
    listing.unlink(missing_ok=True)
    damaged = any(found.damaged for found in problems.values())
    if not any(problems.values()):
        return
    if allow_missing and not damaged:
        print(f'Left out:\n{list_problems(problems)}')
        return
    write_report(listing, {name: asdict(found) for name, found in problems.items() if found})
    hints = []
    if damaged:
        hints.append('Write damaged files again, or delete them to have them counted as missing.')
    if any(found.wrong_size for found in problems.values()):
        hints.append(
            "Files, (H, W) or (H, W, 3), are compared as they are: resize the network's "
            "output to the label's "
            'size before it is turned into classes, metres or unit vectors, or use the '
            'release of the data '
            'set that the predictions were made on.'
        )
    if not damaged:
        hints.append('--allow-missing scores the rest, and the result says so.')
    raise ValueError(
        f'Not every label has a prediction that fits:\n{list_problems(problems)}\n  '
        '(all of them: '
        f'{listing})\n' + '\n'.join(hints)
    )


class FrameLoader:
    """The frames to score: labels through the data set, predictions through the tasks."""

    def __init__(
        self, dataset: MultiTaskDataset, frames: Sequence[ScoredFrame], class_offset: int
    ) -> None:
        self.dataset = dataset
        self.frames = frames
        self.class_offset = class_offset

    def load(self, position: int) -> MultiTaskDataSample:
        frame = self.frames[position]
        labels = self.dataset[frame.index]
        sample = MultiTaskDataSample(metainfo=dict(frame_id=frame.frame_id, ori_shape=frame.size))
        for name, path in frame.files.items():
            task = self.dataset.tasks[name]
            prediction = read_prediction(task, path, self.class_offset)
            sample.set_field(PixelData(data=to_tensor(labels[task.gt_field])), task.gt_field)
            sample.set_field(PixelData(data=to_tensor(prediction)), task.pred_field)
        return sample

    def stamp(self, position: int) -> str:
        """Names, sizes and times of change of a frame's files."""
        frame = self.frames[position]
        labels = self.dataset.get_data_info(frame.index)['label_paths']
        files = [
            (name, path)
            for name, prediction in frame.files.items()
            for path in (prediction, labels[name])
        ]
        states = [(name, str(path), os.stat(path)) for name, path in files]
        return repr(
            (
                frame.frame_id,
                [(name, path, stat.st_size, stat.st_mtime_ns) for name, path, stat in states],
            )
        )


def score(
    evaluator: Evaluator, loader: FrameLoader, settings: str, state: Path
) -> tuple[dict, ResumableScoring]:
    """The metrics, and what is to be finished once they are written."""
    total = len(loader.frames)
    scoring = ResumableScoring(evaluator, total, loader.load, loader.stamp, settings, state)
    if scoring.done:
        print(f'Going on after {scoring.done} of {total} frames ({state}).')
    elif scoring.restarted:
        print(f'{state} is of other files or arguments, or damaged: starting afresh.')
    columns = (TextColumn('Scoring'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns) as progress:
            bar = progress.add_task('', total=total, completed=scoring.done)
            metrics = scoring.run(lambda: progress.advance(bar))
    except KeyboardInterrupt:
        print(
            f'Interrupted after {scoring.done} of {total} frames. The same command goes on from '
            'there.'
        )
        raise SystemExit(INTERRUPTED) from None
    except Exception:
        if scoring.done:
            print(
                f'Stopped after {scoring.done} of {total} frames. Once it is mended, the same '
                'command goes on there.'
            )
        raise
    return metrics, scoring


def main() -> None:
    args = parse_args()
    pred_dir = Path(args.pred_dir)
    out = Path(args.out or pred_dir / 'results.json')
    cfg = read_dataset_config(args.dataset, args.config, args.cfg_options, args.gt_root, args.split)
    selection = LabelSelection()
    dataset = build_dataset(cfg, selection)
    tasks = select_tasks(dataset.tasks, args.tasks)
    found = index_predictions(pred_dir, tasks)
    evaluator = build_evaluator(cfg, {name: tasks[name] for name in found}, args.reference)
    evaluator.dataset_meta = dataset.metainfo
    fields = {metric.task.gt_field for metric in evaluator.metrics}
    measured = {name: tasks[name] for name in found if tasks[name].gt_field in fields}
    print(describe(pred_dir, tasks, found, measured))

    labelled = [
        (info['frame_id'], info['ori_shape'], list(info['label_paths']))
        for info in map(dataset.get_data_info, range(len(dataset)))
    ]
    known = {frame_id for frame_id, *_ in labelled}
    extra = {name: sum(frame_id not in known for frame_id in found[name]) for name in measured}
    if any(extra.values()):
        print(
            'Files of frames that are not in the split: '
            + ', '.join(f'{name} {count}' for name, count in extra.items() if count)
        )
    frames, problems = check_predictions(
        labelled,
        {name: found[name] for name in measured},
        lambda path: prediction_size(path, frame_size),
    )
    require_sound(problems, out, args.allow_missing)
    if not frames:
        raise ValueError(
            f'Nothing to score: no labelled frame of {dataset.data_root} '
            f'({dataset.split}) has a '
            f'prediction in {pred_dir}.'
        )

    selection.wanted = {frame.frame_id: frame.files for frame in frames}
    settings = repr(
        (
            __version__,
            cfg.test_dataloader.dataset,
            cfg.test_evaluator,
            args.class_offset,
            list(measured),
        )
    )
    metrics, scoring = score(
        evaluator,
        FrameLoader(dataset, frames, args.class_offset),
        settings,
        out.with_name(out.name + '.partial'),
    )

    counts = {name: sum(name in frame.files for frame in frames) for name in measured}
    wanted = {name: sum(name in names for *_, names in labelled) for name in measured}
    short = [
        f'{name}: {counts[name]} of {wanted[name]} labelled frames scored'
        for name in measured
        if counts[name] < wanted[name]
    ]
    print_metrics(metrics, None, measured, note='\n'.join(short))
    write_report(
        out,
        build_report(
            metrics,
            evaluator,
            len(frames),
            predictions=str(pred_dir.resolve()),
            data_root=str(Path(dataset.data_root)),
            split=dataset.split,
            class_offset=args.class_offset,
            frames_scored=counts,
            frames_labelled=wanted,
            not_scored={name: asdict(found) for name, found in problems.items() if found},
            extra_files=extra,
            config=args.config,
            dataset=args.dataset,
            config_text=Config(
                dict(dataset=cfg.test_dataloader.dataset, evaluator=cfg.test_evaluator)
            ).pretty_text,
        ),
    )
    scoring.finish()
    print(f'Metrics: {out.resolve()}')


if __name__ == '__main__':
    with plain_errors():
        main()
