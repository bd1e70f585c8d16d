"""Turn a training into one small file to share.

FILE is a file of safetensors with the weights (their moving average, where the training has kept
one) and with what they are: the model, what it was trained on, the command, seed, iterations,
licence, and the results of its test. Every command takes it in the place of a checkpoint. A folder
gets model.safetensors and a card for people, README.md; --push uploads the two to Hugging Face's
hub.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m2h_mm.cli.command import add_overwrite, make_parser, run_command
from m2h_mm.cli.model_arguments import add_config_of_checkpoint

SUFFIX = '.safetensors'  # as in m2h_mm.structures.safetensors_file, which imports PyTorch


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm publish WORK_DIR --out FILE``; returns the exit status."""
    return run_command(publish, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('publish', __doc__)
    parser.add_argument(
        'work_dir', metavar='WORK_DIR', help='of a training, or one of its checkpoints'
    )
    add_config_of_checkpoint(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        '--out', type=_out, metavar='FILE', help=f'the file (*{SUFFIX}), or a folder to write'
    )
    where.add_argument('--push', metavar='USER/NAME', help='upload it to the hub')
    parser.add_argument(
        '--half', action='store_true', help='store the weights in float16: half the size'
    )
    parser.add_argument(
        '--results',
        metavar='JSON',
        help='what m2h-mm test --out has written of the checkpoint (WORK_DIR/results.json, if it '
        'is there)',
    )
    parser.add_argument('--name', metavar='TEXT', help='of the model (that of the file)')
    parser.add_argument(
        '--trained-on',
        metavar='TEXT',
        help='the data, in words (the number of frames and the class of the data set)',
    )
    parser.add_argument(
        '--command', metavar='TEXT', help='of the training (the one that was typed)'
    )
    parser.add_argument('--licence', metavar='TEXT', help='of the weights (not stated)')
    add_overwrite(parser)
    return parser.parse_args(argv)


def _out(text: str) -> Path:
    if Path(text).suffix not in ('', SUFFIX):
        raise argparse.ArgumentTypeError(
            f'expected a file that ends in {SUFFIX}, or a folder without a suffix, got {text!r}'
        )
    return Path(text)


def publish(args: argparse.Namespace) -> None:
    from m2h_mm.cli.model_arguments import choose_checkpoint
    from m2h_mm.engine.training_facts import read_training
    from m2h_mm.evaluation.report import describe_checkpoint
    from m2h_mm.inference import hub, publishing
    from m2h_mm.inference.loading import load_model
    from m2h_mm.structures.checkpoint_file import read_checkpoint
    from m2h_mm.system.outputs import require_free

    checkpoint = Path(choose_checkpoint(args.work_dir))
    results = args.results or checkpoint.parent / 'results.json'
    name = args.push or args.out.stem
    is_file = args.out is not None and args.out.suffix == SUFFIX
    files = [args.out] if is_file else [args.out / file for file in hub.FILES] if args.out else []
    require_free(files, filter(None, [checkpoint, results, args.config]), args.overwrite)
    facts = dict(name=Path(name).name, **read_training(read_checkpoint(checkpoint, mmap=True)))
    for key in ('name', 'trained_on', 'command', 'licence'):
        if getattr(args, key) is not None:
            facts[key] = getattr(args, key)
    if 'trained_on' not in facts:
        raise ValueError(
            f'{checkpoint} does not say what it was trained on, as it was written by an earlier '
            'version or another program. Say it: --trained-on "1449 frames of NYUv2".'
        )
    if args.results or Path(results).is_file():
        digest = describe_checkpoint(checkpoint)['checkpoint_sha256']
        facts['results'] = publishing.read_results(results, digest)
    model, description = load_model(checkpoint, args.config)
    if args.push:
        print(f'Uploaded: {hub.push(args.push, model, description, facts, args.half)}')
    elif is_file:
        publishing.publish(args.out, model, description, facts, args.half)
    else:
        hub.write_folder(args.out, model, description, facts, args.half, str(args.out))
    show(files[:1], facts)


def show(files: Sequence[Path], facts: Mapping[str, Any]) -> None:
    """What was written, and what it says."""
    for path in files:
        print(f'Wrote {path} ({path.stat().st_size / 1e6:.1f} MB):')
    for name, value in facts.items():
        if name == 'results':
            value = ', '.join(f'{key} {number:.4g}' for key, number in value['metrics'].items())
        print(f'  {name}: {value}')
    for name in ('command', 'licence', 'results'):
        if name not in facts:
            print(f'  {name}: not stated')
