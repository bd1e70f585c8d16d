"""The page on own data: its config and its commands, on a folder made as the page says."""

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from m2h_mm.rooms import render_frame

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / 'docs' / 'own_data.md').read_text()
COLOURS = np.array([(128, 0, 0), (0, 128, 0), (0, 0, 128)], np.uint8)
SMALL = [
    'train_cfg.max_iters=2',
    'train_cfg.val_interval=2',
    'train_dataloader.batch_size=2',
    'default_hooks.checkpoint.interval=2',
    'default_hooks.logger.interval=1',
    'default_hooks.visualization.num_frames=1',
]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with ``data/mine`` and the config of the page."""
    for index in range(6):
        frame = render_frame(0, index, 72, 96)
        name = f'hall_{index:04d}'
        classes = np.where(frame.semseg == 2, 0, np.where(frame.semseg == 1, 1, 2))
        files = {
            f'rgb/{name}.jpg': frame.image[..., ::-1],
            f'masks/{name}_mask.png': COLOURS[classes][..., ::-1],
            f'depth/{name}.png': np.rint(1000 * frame.depth).astype(np.uint16),
        }
        for file, pixels in files.items():
            path = tmp_path / 'data' / 'mine' / file
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), pixels)
    (config,) = re.findall(r'```python\n(# mine.py\n.*?)```', PAGE, re.DOTALL)
    written = config.replace("'./configs/", f"'{REPOSITORY}/configs/").replace(
        "'m2h_mm/pre", f"'{REPOSITORY}/m2h_mm/pre"
    )
    (tmp_path / 'mine.py').write_text(written)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_is_as_short_as_the_page_says():
    (config,) = re.findall(r'```python\n# mine.py\n(.*?)```', PAGE, re.DOTALL)
    lines = [line for line in config.splitlines() if line.strip()]
    said = re.search(r'one file of (\d+) lines', PAGE)
    assert len(lines) <= int(said[1]) + 1  # its last line takes two


def test_every_command_of_the_page_does_what_it_says(mine, run):
    commands = re.findall(r'^    m2h-mm (.*)$', PAGE, re.MULTILINE)
    assert [command.split()[0] for command in commands] == [
        'check-data',
        'browse',
        'train',
        'test',
        'predict',
    ]
    said = {}
    for command in commands:
        name, *arguments = shlex.split(command)
        if name == 'train':
            arguments += ['--cfg-options', *SMALL]
        said[name] = run(name, *arguments)
    assert '0 errors' in said['check-data'] and 'floor' in said['check-data']
    assert 'depth/rmse' in said['test'] and 'constant' in said['test']
    assert list((mine / 'look').rglob('*.*'))
    assert len(list((mine / 'pictures' / 'pictures').glob('hall_*.png'))) == 6
    depth = np.load(mine / 'pictures' / 'depth' / 'hall_0000.npy')
    assert depth.shape == (72, 96) and 0 < depth.min() <= depth.max() <= 8
    tasks = Config.fromfile(mine / 'work_dirs' / 'mine_semseg_depth' / 'mine.py').tasks
    assert set(tasks) == {'semseg', 'depth'}


def test_a_mask_of_another_colour_is_found_before_the_training(mine, run):
    mask = mine / 'data' / 'mine' / 'masks' / 'hall_0003_mask.png'
    assert cv2.imwrite(str(mask), np.full((72, 96, 3), 7, np.uint8))
    said = run('check-data', '--config', 'mine.py', status=1)
    assert 'hall_0003_mask.png' in said and '(7, 7, 7)' in said and 'palette' in said
