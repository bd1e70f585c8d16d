"""Convert a checkpoint of the official InvPT code: ``python tools/model_converters/invpt.py SRC
DST``.
"""

import argparse
import os
from pathlib import Path

import torch
from mmengine.config import DictAction

import m2h_mm
from m2h_mm.cli.common import plain_errors
from m2h_mm.engine.checkpoints import read_checkpoint
from m2h_mm.engine.config import load_config
from m2h_mm.methods.invpt.checkpoint import convert_official_invpt, is_dead, unwrap_state_dict
from m2h_mm.registry import MODELS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', type=Path, help='official checkpoint (.pth, .pth.tar)')
    parser.add_argument('dst', type=Path, help='the converted checkpoint (.pth)')
    parser.add_argument(
        '--config',
        default='configs/invpt/invpt_vitl_nyud.py',
        help='config of the model that the checkpoint is for (default: %(default)s)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override config values: tasks.semseg.num_classes=21',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    official = unwrap_state_dict(read_checkpoint(args.src))
    with torch.device('meta'):  # only names and shapes are wanted
        model = MODELS.build(cfg.model)
    state = convert_official_invpt(official, model.state_dict(), tuple(model.tasks))
    dead = [key for key in official if is_dead(key)]
    print(f'{len(state)} tensors converted.')
    if dead:
        print(
            f'{len(dead)} of the file have no effect on any prediction and were left out:',
            *dead,
            sep='\n  ',
        )
    meta = dict(
        m2h_mm_version=m2h_mm.__version__,
        converted_from=args.src.name,
        config=Path(args.config).name,
    )
    args.dst.parent.mkdir(parents=True, exist_ok=True)
    temporary = args.dst.with_name(args.dst.name + '.tmp')
    torch.save({'state_dict': state, 'meta': meta}, temporary)
    os.replace(temporary, args.dst)
    print(f'Wrote {args.dst}.')


if __name__ == '__main__':
    with plain_errors():
        main()
