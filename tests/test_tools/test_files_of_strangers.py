"""No command runs what is in a file that came from somewhere: a checkpoint, an array, a table.

A config is a Python file, and so the one thing that has to be trusted.
"""

import pickle
import runpy
import sys

import numpy as np
import pytest
import torch
from strangers import Stranger, cityscapes, in_work_dir, pascal_context, with_pretrained

from m2h_mm.cli.main import COMMANDS, main

from ..conftest import as_a_new_process
from .conftest import REPOSITORY

# What takes configs and their own work dirs, or what ROS says, and nothing of a stranger.
TRUSTING = {'ablate', 'benchmark', 'flops', 'node', 'print-config'}
# What is not installed with the package.
NEEDED = {'bag': 'rosbags', 'web': 'gradio', 'run_onnx': 'onnxruntime'}
OPENED: list[str] = []
sys.addaudithook(
    lambda event, arguments: OPENED.append(str(arguments[0])) if event == 'open' else None
)


# Command to what it is called with, by a function of the toy config and the stranger.
CALLS = {
    'train': [
        lambda toy, it: (toy, '--resume', it.file('bomb.pth')),
        lambda toy, it: (toy, '--resume', '--work-dir', in_work_dir(it)),
        lambda toy, it: (toy, '--cfg-options', f'load_from={it.file("bomb.pickle")}'),
        lambda toy, it: (with_pretrained(toy, it.file('bomb.pth')),),
    ],
    'test': [
        lambda toy, it: (toy, it.file('bomb.pth')),
        lambda toy, it: (toy, it.file('bomb.pickle')),
        lambda toy, it: (toy, in_work_dir(it)),
    ],
    'publish': [
        lambda toy, it: (it.file('bomb.pth'), '--out', it.folder / 'out.safetensors'),
        lambda toy, it: (in_work_dir(it), '--out', it.folder / 'out.safetensors'),
    ],
    'bag': [lambda toy, it: (it.file('bomb.bag'), it.folder / 'out.bag')],
    'map': [
        lambda toy, it: (it.file('bomb.pth'), '--out', it.folder / 'map'),
        lambda toy, it: (
            (it.data(depth='.npy') / 'images', '--poses', it.file('poses.txt'))
            + ('--out', it.folder / 'map')
        ),
    ],
    'logs': [
        lambda toy, it: (
            it.file('work/20260101_000000/vis_data/scalars.json').parents[2],
            '--out-dir',
            it.folder,
        )
    ],
    'compare': [
        lambda toy, it: (
            it.data(depth='.npy'),
            '--dataset',
            'nyud',
            '--out-dir',
            it.folder / 'out',
            '--preds',
            f'a={it.file("preds/depth/0.npy").parents[1]}',
            '--frames',
            '0',
        )
    ],
    'eval-preds': [
        lambda toy, it, suffix=suffix: (
            (it.data(depth='.npy'), it.file(f'preds/depth/0{suffix}').parents[1])[::-1]
            + ('--dataset', 'nyud')
        )
        for suffix in ('.npy', '.mat')
    ],
    'check-normals': [lambda toy, it: (it.data(depth='.npy', normals='.npy'),)],
    'convert-data cityscapes': [
        lambda toy, it: (cityscapes(it), '--out-dir', it.folder / 'out', '--num-workers', 0)
    ],
    'convert-data hypersim': [
        lambda toy, it: (
            it.folder_of(
                'ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5'
            ),
            '--split-csv',
            it.file('split.csv'),
            '--camera-csv',
            it.file('camera.csv'),
            '--out-dir',
            it.folder / 'out',
            '--num-workers',
            0,
        )
    ],
    'convert-data nyud': [
        lambda toy, it: (
            it.folder_of('nyu_depth_v2_labeled.mat', 'splits.mat', 'classMapping40.mat'),
            '--out-dir',
            it.folder / 'out',
            '--num-workers',
            0,
        )
    ],
    'convert-data pascal_context': [
        lambda toy, it: (pascal_context(it), '--out-dir', it.folder / 'out', '--num-workers', 0)
    ],
    'export': [
        lambda toy, it: (it.file('bomb.pth'), '--config', toy),
        lambda toy, it: (it.file('bomb.pt'),),
    ],
    'run_onnx': [
        lambda toy, it: (
            it.file('bomb.onnx'),
            it.data() / 'images' / '0.png',
            '--out-dir',
            it.folder / 'out',
        )
    ],
    'browse': [
        lambda toy, it: (
            REPOSITORY / 'configs' / 'm2h' / 'm2h_vits_nyud.py',
            '--out-dir',
            it.folder / 'out',
            '--cfg-options',
            f'train_dataloader.dataset.data_root={it.data(depth=".npy")}',
        )
    ],
    'check-data': [
        lambda toy, it: (it.data(depth='.npy', normals='.npy', edge='.npy'), '--dataset', 'nyud')
    ],
    'replay-step': [
        lambda toy, it: (toy, it.file('bomb.pth')),
        lambda toy, it: (toy, it.file('nonfinite_iter_1.pt')),
    ],
    **{
        f'convert-checkpoint {name}': [
            lambda toy, it, suffix=suffix: (
                it.file(f'bomb{suffix}'),
                it.folder / 'out.pth',
                '--config',
                toy,
            )
            for suffix in suffixes
        ]
        for name, suffixes in (
            ('m2h', ('.pth', '.pt', '.npz')),
            ('invpt', ('.pth', '.pth.tar')),
            ('mti_net', ('.pth', '.pth.tar')),
        )
    },
    'predict': [
        lambda toy, it: (
            it.data() / 'images',
            it.file('bomb.pth'),
            '--config',
            toy,
            '--out-dir',
            it.folder / 'out',
        ),
        lambda toy, it: (
            it.data() / 'images',
            it.file('bomb.pt'),
            '--out-dir',
            it.folder / 'out',
        ),
    ],
    'pointcloud': [
        lambda toy, it: (
            it.data() / 'images' / '0.png',
            it.file('bomb.pth'),
            '--config',
            toy,
            '--out',
            it.folder / 'a.ply',
        )
    ],
    'video': [
        lambda toy, it: (
            it.file('bomb.mp4'),
            it.file('bomb.pth'),
            '--config',
            toy,
            '--out',
            it.folder / 'out.mp4',
        )
    ],
    'web': [lambda toy, it: (it.file('bomb.pth'), '--config', toy)],
}


RUN_ONNX = REPOSITORY / 'tools' / 'deployment' / 'run_onnx.py'


@pytest.fixture
def call(monkeypatch, capfd):
    """``call(command, arguments)``: exit status or error, what it printed, and which files it
    opened.
    """

    def call(command, arguments):
        arguments = [*command.split(), *map(str, arguments)]
        OPENED.clear()
        status = 0
        try:
            if command == 'run_onnx':
                monkeypatch.setattr(sys, 'argv', arguments)
                runpy.run_path(str(RUN_ONNX), run_name='__main__')
            else:
                status = main(arguments)
        except SystemExit as end:
            status = end.code or 0
        except Exception as error:
            status = repr(error)
        return status, ''.join(capfd.readouterr()), list(OPENED)

    return call


def test_every_command_is_here():
    called = {program.split()[0] for program in CALLS} - {'run_onnx'}
    assert called | TRUSTING == set(COMMANDS), 'say in CALLS what a command reads of a stranger'


@pytest.mark.parametrize(
    ('program', 'index'),
    [(name, index) for name, calls in CALLS.items() for index in range(len(calls))],
)
def test_no_code_is_run(program, index, toy_config, tmp_path, call, monkeypatch):
    if program in NEEDED:
        pytest.importorskip(NEEDED[program])
    stranger = Stranger(tmp_path)
    arguments = CALLS[program][index](toy_config(), stranger)
    monkeypatch.chdir(tmp_path)
    with as_a_new_process():
        status, said, opened = call(program, arguments)
    assert not stranger.crater.exists()
    # It was looked at, or nothing would have been shown.
    assert any(str(path) in opened or path.name in f'{status}{said}' for path in stranger.files), (
        status,
        said,
    )
    assert status != 0, said


def test_a_bomb_goes_off_where_it_is_let(tmp_path):
    stranger = Stranger(tmp_path)
    for name, load in {
        'a.pth': lambda path: torch.load(path, weights_only=False),
        'a.npy': lambda path: np.load(path, allow_pickle=True),
        'a.npz': lambda path: np.load(path, allow_pickle=True)['a'],
        'a.mat': lambda path: pickle.loads(path.read_bytes()),
    }.items():
        load(stranger.file(name))
        stranger.crater.rmdir()
