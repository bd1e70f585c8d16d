"""Train and compare the variants of a spec.

Every variant and seed is trained and tested in a folder of its own; then come a table and a plot.
The same command goes on where it was interrupted. docs/ablations.md says how a spec is written and
a table is read.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from m2h_mm.cli.command import add_overwrite, make_parser, run_command
from m2h_mm.experiments.sweep_spec import SINGLE_TASK

if TYPE_CHECKING:
    from m2h_mm.experiments.sweep import Run, Sweep
    from m2h_mm.experiments.sweep_runner import Launcher

COSTS, PLOT, CURVES = 'costs.json', 'gain_and_latency.png', 'curves.png'


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm ablate SPEC``; returns the exit status."""
    return run_command(ablate, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('ablate', __doc__)
    parser.add_argument('spec', help='path or name of the spec')
    parser.add_argument(
        '--work-dir', metavar='DIR', help='where everything is kept (work_dirs/<spec name>)'
    )
    parser.add_argument(
        '--only',
        nargs='+',
        metavar='VARIANT',
        help=f'run these only; {SINGLE_TASK} stands for the single-task models',
    )
    parser.add_argument(
        '--max-parallel',
        type=int,
        default=1,
        metavar='N',
        help='runs at the same time; they share the cores, or take the GPUs in turn (%(default)s)',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'slurm'],
        default='none',
        help='slurm starts each run by srun',
    )
    parser.add_argument(
        '--srun-args', default='', metavar="'ARGS'", help="such as '--partition=gpu --gres=gpu:1'"
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='delete runs that an earlier spec has left, and redo them',
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='print the runs, their states and commands, and stop'
    )
    parser.add_argument(
        '--table-only', action='store_true', help='run nothing; write the tables of what is there'
    )
    parser.add_argument(
        '--repeats',
        type=int,
        default=20,
        metavar='N',
        help='timed calls per variant; 0 leaves out latency and memory (%(default)s)',
    )
    parser.add_argument(
        '--device',
        choices=['cpu', 'cuda'],
        help='where latency and memory are measured (a GPU where there is one)',
    )
    add_overwrite(parser)
    args = parser.parse_args(argv)
    if args.max_parallel < 1:
        parser.error(f'--max-parallel: expected 1 or more, got {args.max_parallel}')
    if args.repeats < 0:
        parser.error(f'--repeats: expected 0 or more, got {args.repeats}')
    if args.launcher == 'slurm' and not args.dry_run and shutil.which('srun') is None:
        parser.error('--launcher slurm: there is no srun on this machine')
    return args


def ablate(args: argparse.Namespace) -> int:
    """Status 1 if a run has failed, 130 if Ctrl-C ended the sweep."""
    from m2h_mm.experiments.sweep import load_sweep
    from m2h_mm.experiments.sweep_runner import Launcher, run_all
    from m2h_mm.experiments.sweep_states import refuse_changed

    sweep = load_sweep(args.spec, args.work_dir)
    runs = select(sweep, args.only)
    launcher = Launcher(args.launcher, args.srun_args, args.max_parallel)
    if args.dry_run:
        print_plan(runs, launcher)
        if sweep.waiting:
            print(f'Further seeds follow with the chosen {sweep.tuning.key} of each variant.')
        return 0
    require_free_folder(sweep, args.overwrite)
    left = []
    if not args.table_only:
        # The trainings are ended too, which a signal to this process alone would leave running.
        before = signal.signal(signal.SIGTERM, end_by_signal)
        try:
            done: set[str] = set()
            # What a tuned sweep has chosen decides which runs come next.
            while new := [run for run in select(sweep, args.only) if run.name not in done]:
                refuse_changed(new, args.force)
                left += run_all(new, launcher, lambda line: print(line, flush=True))
                done.update(run.name for run in new)
        except KeyboardInterrupt:
            print(
                '\nInterrupted. Finished runs are kept; the same command goes on.', file=sys.stderr
            )
            return 128 + signal.SIGINT
        finally:
            signal.signal(signal.SIGTERM, before)
    report(sweep, args)
    if left:
        print(
            f'Not finished: {", ".join(run.name for run in left)}. The same command tries again.',
            file=sys.stderr,
        )
    return 1 if left else 0


def require_free_folder(sweep: Sweep, overwrite: bool) -> None:
    """Raise unless what the sweep writes is its own, which a run's config shows, or is not there.

    Raises:
        FileExistsError, ValueError: see :func:`~m2h_mm.system.outputs.require_free`.
    """
    from m2h_mm.experiments.sweep_tables import TABLES
    from m2h_mm.system.outputs import require_free

    new = [run for run in sweep.runs if not run.config.is_file()]
    files = [run.results for run in new]
    if len(new) == len(sweep.runs):
        files += [sweep.folder / name for name in (*TABLES, COSTS, PLOT, CURVES)]
    require_free(files, overwrite=overwrite)


def select(sweep: Sweep, only: list[str] | None) -> list[Run]:
    """The runs of some variants.

    Raises:
        ValueError: one that the spec does not have.
    """
    known = list(dict.fromkeys(run.variant for run in sweep.runs))
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise ValueError(f'--only: the spec has no variant {unknown[0]!r}; it has {known}.')
    return [run for run in sweep.runs if not only or run.variant in only]


def print_plan(runs: list[Run], launcher: Launcher) -> None:
    """Each run with its state, and the commands that are left of it."""
    from m2h_mm.experiments.sweep_states import CHANGED, FINISHED, RUNNING, differences, state

    for run in runs:
        found = state(run)
        print(f'{run.name}: {found}')
        if found == CHANGED:
            print('\n'.join(f'    {difference}' for difference in differences(run)))
        elif found not in (FINISHED, RUNNING):
            print('\n'.join(f'    {shlex.join(command)}' for command in launcher.commands(run)))


def report(sweep: Sweep, args: argparse.Namespace) -> None:
    """Measure the costs, write tables and plots, and print the table."""
    import torch

    from m2h_mm.experiments.sweep_costs import measure_costs
    from m2h_mm.experiments.sweep_curves import plot_curves
    from m2h_mm.experiments.sweep_plot import plot_gain
    from m2h_mm.experiments.sweep_report import summarise_sweep
    from m2h_mm.experiments.sweep_tables import write_tables

    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    sweep.folder.mkdir(parents=True, exist_ok=True)
    costs = measure_costs(sweep, device, args.repeats, sweep.folder / COSTS)
    summary = summarise_sweep(sweep, costs)
    table = write_tables(sweep.folder, summary)
    print(f'\n{table.read_text()}\nTable: {table.resolve()}, also .csv and .json')
    plot = sweep.folder / PLOT
    if plot_gain(plot, summary):
        print(f'Plot: {plot.resolve()}')
    curves = sweep.folder / CURVES
    if plot_curves(curves, sweep):
        print(f'Curves of the validations: {curves.resolve()}')


def end_by_signal(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
