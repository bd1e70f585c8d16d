"""Score predictions that any program wrote.

No model is needed. The files PREDS/<task>/<frame id>.png, .npy or .mat are compared with the labels
of a data set by the metrics that m2h-mm test uses. An interrupted run goes on where it was when the
same command is given again.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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
from m2h_mm.system.progress import progress_bar

if TYPE_CHECKING:
    from mmengine.evaluator import Evaluator

    from m2h_mm.evaluation.prediction_files import Problems
    from m2h_mm.evaluation.resumable import ResumableScoring
    from m2h_mm.experiments.prediction_scoring import FrameLoader
    from m2h_mm.tasks import Task

NAMED = 10
INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm eval-preds PREDS LABELS --dataset NAME``; returns the exit status."""
    return run_command(eval_preds, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('eval-preds', __doc__)
    parser.add_argument('pred_dir', help='folder of the predictions, one folder per task in it')
    parser.add_argument(
        'gt_root', nargs='?', help='data_root of the data set (may be left out with --config)'
    )
    add_labelled_data(parser, 'the data set and its metrics')
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
    add_label_format(
        parser, '--prediction-format', 'the files of predictions are to be read, if not as ours'
    )
    add_label_format(parser)
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
    add_overwrite(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.dataset and not args.gt_root:
        parser.error('--dataset needs GT_ROOT, the folder of the labels')
    return args


def eval_preds(args: argparse.Namespace) -> None:
    from mmengine.config import Config

    from m2h_mm import __version__
    from m2h_mm.cli.metric_table import print_metrics
    from m2h_mm.datasets.label_formats import with_palette
    from m2h_mm.engine.config import read_dataset_config
    from m2h_mm.evaluation.prediction_files import (
        check_predictions,
        index_predictions,
        look_at_predictions,
        prediction_readers,
    )
    from m2h_mm.evaluation.report import build_report, write_report
    from m2h_mm.evaluation.result_files import require_free_results, state_file
    from m2h_mm.experiments.prediction_scoring import (
        FrameLoader,
        LabelSelection,
        build_dataset,
        build_evaluator,
    )

    pred_dir = Path(args.pred_dir)
    out = Path(args.out or pred_dir / 'results.json')
    own = [path for path in (args.config, *(args.reference or ())) if path]
    require_free_results(out, own, args.overwrite)
    cfg = read_dataset_config(args.dataset, args.config, args.cfg_options, args.gt_root, args.split)
    state_label_formats(cfg.test_dataloader.dataset, args.label_format)
    selection = LabelSelection()
    dataset = build_dataset(cfg, selection)
    tasks = select_tasks(dataset.tasks, args.tasks)
    found = index_predictions(pred_dir, tasks)
    evaluator = build_evaluator(cfg, {name: tasks[name] for name in found}, args.reference)
    evaluator.dataset_meta = dataset.metainfo
    fields = {metric.task.gt_field for metric in evaluator.metrics}
    measured = {name: tasks[name] for name in found if tasks[name].gt_field in fields}
    palette = dataset.metainfo.get('palette')
    formats = {
        name: with_palette(name, settings, palette)
        for name, settings in args.prediction_format.items()
    }
    readers = prediction_readers(measured, formats, args.class_offset)
    print(describe_folders(pred_dir, tasks, found, measured))

    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    labels = [label for info in infos for label in info['label_paths'].values()]
    predictions = [path for files in found.values() for path in files.values()]
    require_free_results(out, [*own, *predictions, *labels], args.overwrite)
    labelled = [(info['frame_id'], info['ori_shape'], list(info['label_paths'])) for info in infos]
    known = {frame_id for frame_id, *_ in labelled}
    extra = {name: sum(frame_id not in known for frame_id in found[name]) for name in measured}
    if any(extra.values()):
        print(
            'Files of frames that are not in the split: '
            + ', '.join(f'{name} {count}' for name, count in extra.items() if count)
        )
    found = {name: found[name] for name in measured}
    frames, problems = check_predictions(labelled, found)
    require_sound(problems, out, args.allow_missing)
    if not frames:
        raise ValueError(
            f'Nothing to score: no labelled frame of {dataset.data_root} ({dataset.split}) has a '
            f'prediction in {pred_dir}.'
        )

    look_at_predictions(
        readers,
        {name: {f.frame_id: f.files[name] for f in frames if name in f.files} for name in measured},
    )

    selection.wanted = {frame.frame_id: frame.files for frame in frames}
    settings = repr(
        (
            __version__,
            cfg.test_dataloader.dataset,
            cfg.test_evaluator,
            args.class_offset,
            formats,
            list(measured),
        )
    )
    metrics, scoring = score(
        evaluator,
        FrameLoader(dataset, frames, readers),
        settings,
        state_file(out),
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
            prediction_format=formats,
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


def describe_folders(
    pred_dir: Path,
    tasks: Mapping[str, Task],
    found: Mapping[str, Mapping[str, Path]],
    measured: Mapping[str, Task],
) -> str:
    """Which folder and format was taken for each task."""
    from m2h_mm.evaluation.prediction_files import folder_names

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
    from m2h_mm.evaluation.report import write_report
    from m2h_mm.evaluation.result_files import listing_file

    listing = listing_file(out)
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
            "Files, (H, W) or (H, W, 3), are compared as they are: resize the network's output "
            "to the label's size before it is turned into classes, metres or unit vectors, or "
            'use the release of the data set that the predictions were made on.'
        )
    if not damaged:
        hints.append('--allow-missing scores the rest, and the result says so.')
    raise ValueError(
        f'Not every label has a prediction that fits:\n{list_problems(problems)}\n  (all of them: '
        f'{listing})\n' + '\n'.join(hints)
    )


def score(
    evaluator: Evaluator, loader: FrameLoader, settings: str, state: Path
) -> tuple[dict, ResumableScoring]:
    """The metrics, and what is to be finished once they are written."""
    from m2h_mm.evaluation.resumable import ResumableScoring

    total = len(loader.frames)
    scoring = ResumableScoring(evaluator, total, loader.load, loader.stamp, settings, state)
    if scoring.done:
        print(f'Going on after {scoring.done} of {total} frames ({state}).')
    elif scoring.restarted:
        print(f'{state} is of other files or arguments, or damaged: starting afresh.')
    try:
        with progress_bar('Scoring') as progress:
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
