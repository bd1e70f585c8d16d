"""Convert a checkpoint of the official M2H code: ``python tools/model_converters/m2h.py SRC DST
--config CONFIG``.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mmengine.config import DictAction

import m2h_mm
from m2h_mm.cli.common import plain_errors
from m2h_mm.engine.checkpoints import read_checkpoint
from m2h_mm.engine.config import load_config
from m2h_mm.methods.m2h.checkpoint import Conversion, fit_official_m2h, unwrap_state_dict
from m2h_mm.registry import MODELS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'src', type=Path, help='official checkpoint (.pt, .pth), or an .npz archive of its arrays'
    )
    parser.add_argument('dst', type=Path, help='the converted checkpoint (.pth)')
    parser.add_argument(
        '--config', required=True, help='config of the model that the checkpoint is for'
    )
    parser.add_argument(
        '--partial',
        action='store_true',
        help='write the file even if it does not fill every weight of the model',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override config values: tasks.semseg.num_classes=41',
    )
    return parser.parse_args()


def read(path: Path) -> Mapping:
    """What a .npz archive or a file of PyTorch holds."""
    if path.suffix != '.npz':
        return read_checkpoint(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no archive {path}.')
    with np.load(path, allow_pickle=False) as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive.files}


def report(conversion: Conversion) -> None:
    """Say what was taken over and what was not."""
    print(f'{len(conversion.state_dict)} tensors converted.')
    for keys, what in (
        (conversion.dead, 'of the file have no effect on any output'),
        (conversion.unused, 'of the file are not used, the model has no place for them'),
        (conversion.missing, 'of the model are not in the file'),
    ):
        if keys:
            print(f'{len(keys)} {what}:', *keys, sep='\n  ')


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    state = unwrap_state_dict(read(args.src))
    with torch.device('meta'):  # only names and shapes are wanted
        model = MODELS.build(cfg.model)
    conversion = fit_official_m2h(state, model.state_dict())
    report(conversion)
    if conversion.missing and not args.partial:
        raise ValueError(
            f'{args.src} does not fill {len(conversion.missing)} weights of the model '
            '(listed above), so '
            'nothing was written. Use the config that fits the checkpoint, or '
            '--partial to start a '
            'training from it.'
        )
    meta = dict(
        m2h_mm_version=m2h_mm.__version__,
        converted_from=args.src.name,
        config=Path(args.config).name,
    )
    args.dst.parent.mkdir(parents=True, exist_ok=True)
    temporary = args.dst.with_name(args.dst.name + '.tmp')
    torch.save({'state_dict': conversion.state_dict, 'meta': meta}, temporary)
    os.replace(temporary, args.dst)
    print(f'Wrote {args.dst}.')


if __name__ == '__main__':
    with plain_errors():
        main()
