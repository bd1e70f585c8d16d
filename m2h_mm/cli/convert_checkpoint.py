"""Convert a checkpoint of a method's official code into one of this project."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.cli.command import add_cfg_options, add_overwrite, make_parser, run_command

if TYPE_CHECKING:
    from torch import Tensor, nn

    from m2h_mm.methods.official_checkpoint import Conversion

    State = Mapping[str, Tensor]


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm convert-checkpoint METHOD SRC DST``; returns the exit status."""
    return run_command(convert, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('convert-checkpoint', __doc__)
    methods = parser.add_subparsers(title='methods', metavar='METHOD', required=True)
    m2h = _add(methods, 'm2h', 'M2H and M2H-small', convert_m2h, config=None)
    m2h_mx = _add(methods, 'm2h_mx', 'M2H-MX', convert_m2h_mx, config='m2h_mx_vitl_nyud_official')
    for parser_of_both in (m2h, m2h_mx):
        parser_of_both.add_argument(
            '--partial',
            action='store_true',
            help='write the file even if it does not fill every weight of the model',
        )
    _add(methods, 'invpt', 'InvPT', convert_invpt, config='invpt_vitl_nyud')
    _add(methods, 'taskprompter', 'TaskPrompter', convert_taskprompter, 'taskprompter_vitl_nyud')
    _add(methods, 'mti_net', 'MTI-Net and PAD-Net', convert_mti_net, config='mti_net_hrnet18_nyud')
    return parser.parse_args(argv)


def _add(
    methods,
    name: str,
    title: str,
    convert_state: Callable[[argparse.Namespace, nn.Module], State],
    config: str | None,
) -> argparse.ArgumentParser:
    """The parser of one method; ``config`` is the default of ``--config``."""
    parser = methods.add_parser(
        name, help=title, description=f'Convert a checkpoint of the official {title}.'
    )
    parser.set_defaults(convert_state=convert_state)
    parser.add_argument(
        'src', type=Path, help='official checkpoint (.pth, .pt, .pth.tar, .safetensors, .npz)'
    )
    parser.add_argument('dst', type=Path, help='the converted checkpoint (.pth, .safetensors)')
    parser.add_argument(
        '--config',
        required=config is None,
        default=config,
        help='name or path of the config of the model that the checkpoint is for'
        + ('' if config is None else ' (%(default)s)'),
    )
    add_overwrite(parser)
    add_cfg_options(parser, 'override config values: tasks.semseg.num_classes=21')
    return parser


def convert(args: argparse.Namespace) -> None:
    from m2h_mm import __version__
    from m2h_mm.engine.config import load_config
    from m2h_mm.engine.model_description import META_KEY, describe_model
    from m2h_mm.models.building import build_without_weights
    from m2h_mm.structures.checkpoint_file import write_checkpoint
    from m2h_mm.system.outputs import require_free

    require_free([args.dst], [args.src, args.config], args.overwrite)
    cfg = load_config(args.config, args.cfg_options)
    model = build_without_weights(cfg.model)  # only names and shapes are wanted
    state = convert_state(args, model)
    meta = dict(
        m2h_mm_version=__version__,
        converted_from=args.src.name,
        config=Path(args.config).name,
        **{META_KEY: describe_model(cfg).to_plain()},
    )
    write_checkpoint(args.dst, state, meta)
    print(f'Wrote {args.dst}.')


def convert_state(args: argparse.Namespace, model: nn.Module) -> State:
    """The weights of ``args.src`` under our names; errors name it."""
    from m2h_mm.structures.checkpoint_file import naming_errors

    with naming_errors(args.src):
        return args.convert_state(args, model)


def convert_m2h(args: argparse.Namespace, model: nn.Module) -> State:
    """Weights of M2H or M2H-small under our names.

    Raises:
        ValueError: without ``--partial``, weights of the model that the file lacks.
    """
    from m2h_mm.methods.m2h.checkpoint import fit_official_m2h, unwrap_state_dict

    conversion = fit_official_m2h(unwrap_state_dict(read(args.src)), model.state_dict())
    return _told(conversion, args)


def convert_m2h_mx(args: argparse.Namespace, model: nn.Module) -> State:
    """Weights of M2H-MX under our names; adapters are merged where the model has none.

    Raises:
        ValueError: without ``--partial``, weights of the model that the file lacks.
    """
    from m2h_mm.methods.m2h_mx.checkpoint import fit_official_m2h_mx, unwrap_state_dict

    official = unwrap_state_dict(read(args.src))
    return _told(fit_official_m2h_mx(official, model.state_dict(), tuple(model.tasks)), args)


def _told(conversion: Conversion, args: argparse.Namespace) -> State:
    """The converted weights, after what became of the others is printed.

    Raises:
        ValueError: without ``--partial``, weights of the model that the file lacks.
    """
    print(f'{len(conversion.state_dict)} tensors converted.')
    _list(conversion.dead, 'of the file have no effect on any output')
    _list(conversion.unused, 'of the file are not used, the model has no place for them')
    _list(conversion.missing, 'of the model are not in the file')
    if conversion.missing and not args.partial:
        raise ValueError(
            f'{args.src} does not fill {len(conversion.missing)} weights of the model (listed '
            'above), so nothing was written. Use the config that fits the checkpoint, or '
            '--partial to start a training from it.'
        )
    return conversion.state_dict


def convert_invpt(args: argparse.Namespace, model: nn.Module) -> State:
    """Weights of InvPT under our names."""
    from m2h_mm.methods.invpt.checkpoint import convert_official_invpt, is_dead, unwrap_state_dict

    official = unwrap_state_dict(read(args.src))
    state = convert_official_invpt(official, model.state_dict(), tuple(model.tasks))
    print(f'{len(state)} tensors converted.')
    dead = [key for key in official if is_dead(key)]
    _list(dead, 'of the file have no effect on any prediction and were left out')
    return state


def convert_taskprompter(args: argparse.Namespace, model: nn.Module) -> State:
    """Weights of TaskPrompter under our names."""
    from m2h_mm.methods.taskprompter.checkpoint import fit_official_taskprompter, unwrap_state_dict

    official = unwrap_state_dict(read(args.src))
    return _told(fit_official_taskprompter(official, model.state_dict(), tuple(model.tasks)), args)


def convert_mti_net(args: argparse.Namespace, model: nn.Module) -> State:
    """Weights of MTI-Net or PAD-Net under our names."""
    from m2h_mm.methods.mti_net.checkpoint import convert_official_mti_net, unwrap_state_dict

    official = unwrap_state_dict(read(args.src))
    state = convert_official_mti_net(official, model.state_dict(), tuple(model.tasks))
    print(f'{len(official)} tensors converted into {len(state)}.')
    return state


def read(path: Path) -> Mapping:
    """What a file of PyTorch, or a .npz archive of its arrays, holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, or damaged.
    """
    import numpy as np
    import torch

    from m2h_mm.engine.checkpoints import read_checkpoint

    if path.suffix != '.npz':
        return read_checkpoint(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no archive {path}.')
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: torch.from_numpy(archive[key]) for key in archive.files}
    except Exception as error:  # on damaged files, nearly anything
        raise ValueError(
            f'{path} is no archive of NumPy arrays (.npz), or damaged ({error!r}).'
        ) from error


def _list(keys: Sequence[str], what: str) -> None:
    if keys:
        print(f'{len(keys)} {what}:', *keys, sep='\n  ')
