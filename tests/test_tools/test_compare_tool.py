"""Comparing runs in pictures, as a user does it."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2h_mm.tasks import build_tasks

from .conftest import REPOSITORY

SIZE = (12, 16)
FRAMES = [f'f{index}' for index in range(5)]
TASKS = build_tasks(['semseg', 'depth'])


@pytest.fixture
def tool(run):
    """``tool(*arguments, status=0)``: what the command printed, on one line."""

    def tool(*arguments: object, status: int = 0) -> str:
        return re.sub(r'\s+', ' ', run('compare', *arguments, status=status))

    return tool


@pytest.fixture
def root(tmp_path) -> Path:
    """Five frames in the layout of NYUD-MT, all at 2 m and of class 3; the last without depth."""
    root = tmp_path / 'gt'
    for folder in ('images', 'segmentation', 'depth', 'gt_sets'):
        (root / folder).mkdir(parents=True)
    for frame in FRAMES:
        cv2.imwrite(str(root / 'images' / f'{frame}.png'), np.full((*SIZE, 3), 90, np.uint8))
        cv2.imwrite(str(root / 'segmentation' / f'{frame}.png'), np.full(SIZE, 4, np.uint8))
        if frame != FRAMES[-1]:
            np.save(root / 'depth' / f'{frame}.npy', np.full(SIZE, 2, np.float32))
    (root / 'gt_sets' / 'val.txt').write_text('\n'.join(FRAMES))
    return root


def write(folder: Path, frame: str, off: float = 0, size: tuple[int, int] = SIZE) -> None:
    """A prediction whose depth is wrong by ``off`` metres."""
    TASKS['semseg'].write_prediction(np.full(size, 3), folder / 'semseg' / f'{frame}.png')
    TASKS['depth'].write_prediction(
        np.full(size, 2 + off, np.float32), folder / 'depth' / f'{frame}.npy'
    )


@pytest.fixture
def runs(tmp_path) -> dict[str, Path]:
    """Two runs: A errs most in f1, then f3; they differ most in f2, then f3."""
    offs = dict(A=(0.1, 0.9, 0.2, 0.3, 0), B=(0.1, 1.0, 0.9, 0.8, 0))
    for name, values in offs.items():
        for frame, off in zip(FRAMES, values, strict=True):
            write(tmp_path / name, frame, off)
    return {name: tmp_path / name for name in offs}


@pytest.fixture
def compare(tool, root, tmp_path):
    """``compare(runs, *options)``: what was said, and the names of the pictures."""

    def compare(runs: dict[str, Path], *options: object, status: int = 0) -> tuple[str, list[str]]:
        out = tmp_path / 'out'
        shutil.rmtree(out, ignore_errors=True)
        said = tool(
            root,
            '--dataset',
            'nyud',
            '--out-dir',
            out,
            '--panel-size',
            64,
            *options,
            '--preds',
            *(f'{name}={folder}' for name, folder in runs.items()),
            status=status,
        )
        return said, sorted(path.stem for path in out.glob('*.png'))

    return compare


# ---- which frames
def test_all_frames_are_drawn_and_tasks_without_predictions_left_out(compare, runs, tmp_path):
    said, pictures = compare(runs)
    assert pictures == FRAMES
    assert '5 of 5 frames, semseg, depth: ' in said
    assert cv2.imread(str(tmp_path / 'out' / 'f0.png')).shape[2] == 3


def test_frames_are_spread_named_or_ranked(compare, runs):
    assert compare(runs, '--num-frames', 3)[1] == ['f0', 'f2', 'f4']
    assert compare(runs, '--frames', 'f3', 'f1', 'f3')[1] == ['f1', 'f3']
    assert compare(runs, '--worst', 'depth', '--num-frames', 2)[1] == ['f1', 'f3']
    assert compare(runs, '--differ', 'depth', '--num-frames', 1)[1] == ['f2']
    assert compare(runs, '--differ', 'depth', '--num-frames', 2)[1] == ['f2', 'f3']
    assert compare(runs, '--worst', 'depth')[1] == FRAMES[:4]  # f4 has no label to err from


def test_frames_that_a_run_lacks_are_drawn_when_named_only(compare, runs):
    for folder in ('semseg', 'depth'):
        next((runs['B'] / folder).glob('f2.*')).unlink()
    assert compare(runs)[1] == ['f0', 'f1', 'f3', 'f4']
    assert compare(runs, '--frames', 'f2')[1] == ['f2']


def test_tasks_are_chosen(compare, runs, root):
    assert 'frames, depth: ' in compare(runs, '--tasks', 'depth')[0]
    assert (
        "the data set has ['semseg', 'depth', 'normals', 'edge'], got ['detph']"
        in compare(runs, '--tasks', 'detph', status=1)[0]
    )


def test_a_config_names_the_data_set(tool, runs, root, tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(
        f"_base_ = '{REPOSITORY}/configs/_base_/datasets/nyud.py'\n"
        f"test_dataloader = dict(dataset=dict(data_root='{root}'))\n"
    )
    said = tool(
        '--config',
        config,
        '--out-dir',
        tmp_path / 'out',
        '--preds',
        f'A={runs["A"]}',
        '--num-frames',
        2,
    )
    assert '2 of 5 frames' in said and len(list((tmp_path / 'out').glob('*.png'))) == 2
    config.write_text("default_scope = 'm2h_mm'\n")
    assert 'mine.py: expected test_dataloader.dataset' in tool(
        '--config', config, '--preds', f'A={runs["A"]}', status=1
    )


# ---- files
def test_classes_may_be_counted_from_1_in_some_runs(compare, runs, tmp_path):
    for frame in FRAMES:
        TASKS['semseg'].write_prediction(np.full(SIZE, 4), runs['B'] / 'semseg' / f'{frame}.png')
    compare(runs, '--class-offset', 0, 1, '--tasks', 'semseg', '--frames', 'f0')
    right = cv2.imread(str(tmp_path / 'out' / 'f0.png'))
    compare(runs, '--tasks', 'semseg', '--frames', 'f0')
    wrong = cv2.imread(str(tmp_path / 'out' / 'f0.png'))
    dark = (0, 0, 127)  # BGR of an error
    assert (wrong == dark).all(-1).sum() >= (right == dark).all(-1).sum() + SIZE[0] * SIZE[1] * 16
    said, _ = compare(runs, '--class-offset', 0, 1, 1, status=2)
    assert '--class-offset: expected 1 number or one for each of the 2 runs, got 3' in said


def test_files_of_a_run_may_be_described(compare, runs, tmp_path):
    for frame in FRAMES:
        cv2.imwrite(str(runs['B'] / 'semseg' / f'{frame}.png'), np.full(SIZE, 33, np.uint8))
    options = ('--tasks', 'semseg', '--frames', 'f0')
    compare(runs, *options, '--prediction-format', f'B:semseg.ids={list(range(30, 70))}')
    right = cv2.imread(str(tmp_path / 'out' / 'f0.png'))
    compare(runs, *options)
    assert (cv2.imread(str(tmp_path / 'out' / 'f0.png')) != right).any()
    said, _ = compare(runs, *options, '--prediction-format', 'C:semseg.first=1', status=1)
    assert "C:semseg: expected a run of ['A', 'B']" in said


def test_a_prediction_of_another_size_does_not_stop_the_rest(compare, runs):
    write(runs['B'], 'f1', 0.5, (6, 8))
    assert compare(runs)[1] == FRAMES
    # The runs cannot be compared there, but the first one can be ranked.
    assert compare(runs, '--differ', 'depth')[1] == ['f0', 'f2', 'f3']
    assert compare(runs, '--worst', 'depth', '--num-frames', 1)[1] == ['f1']


def test_damaged_files_are_listed(compare, runs):
    for frame in FRAMES[:3]:
        (runs['B'] / 'depth' / f'{frame}.npy').write_bytes(b'no array')
    said, pictures = compare(runs)
    assert pictures == FRAMES
    assert said.count('Left out: File') == 3 and 'f1.npy cannot be read' in said
    assert compare(runs, '--differ', 'depth')[1] == ['f3']


def test_a_long_list_of_damaged_files_is_cut(compare, runs):
    for path in [path for folder in runs.values() for path in (folder / 'depth').iterdir()]:
        path.write_bytes(b'no array')
    said, _ = compare(runs)
    assert said.count('Left out: File') == 5 and '... and 5 files more' in said


# ---- mistakes
@pytest.mark.parametrize(
    ('item', 'message'),
    [
        (
            'work_dirs/a',
            "--preds: expected NAME=DIR, such as M2H=work_dirs/m2h/preds, got 'work_dirs/a'",
        ),
        ('=work_dirs/a', "got '=work_dirs/a'"),
        ('C=', "got 'C='"),
        ('A={B}', "the name 'A' is given twice, for {A} and {B}. Each run needs its own"),
        ('C={A}', "'A' and 'C' are the same folder, {A}. Give each run once"),
        ('C={A}/../A', "'A' and 'C' are the same folder"),
        ('C=nowhere', 'There is no folder nowhere of predictions'),
        (
            'C={gt}/gt_sets',
            'gt_sets holds no predictions: looked for the folders semseg/ or segmentation/, depth/',
        ),
    ],
)
def test_a_run_that_is_none_is_named(tool, runs, root, item, message):
    folders = dict(runs, gt=root)
    said = tool(
        root, '--dataset', 'nyud', '--preds', f'A={runs["A"]}', item.format(**folders), status=1
    )
    assert message.format(**folders) in said


def test_a_run_of_other_frames_or_none_is_named(compare, runs, tmp_path):
    write(tmp_path / 'C', 'elsewhere')
    said, pictures = compare(dict(runs, C=tmp_path / 'C'), status=1)
    assert re.search(
        r"/C \(C\): looked for .* of the split 'val' \(\['f0'.*they are of "
        r"\['elsewhere'\]",
        said,
    )
    assert not pictures
    for path in (tmp_path / 'C').glob('*/*'):
        path.unlink()
    assert (
        "in the folders of ['semseg', 'depth']; they hold none"
        in compare(dict(C=tmp_path / 'C'), status=1)[0]
    )


def test_runs_without_a_common_frame_are_counted(compare, tmp_path):
    write(tmp_path / 'A', 'f0')
    write(tmp_path / 'A', 'f1')
    write(tmp_path / 'B', 'f2')
    runs = dict(A=tmp_path / 'A', B=tmp_path / 'B')
    said, _ = compare(runs, status=1)
    assert (
        "No frame has a prediction of every run. Frames of the split 'val': 5; with a prediction: "
        'A 2, B 1.' in said
    )
    assert compare(runs, '--frames', 'f0')[1] == ['f0']  # the way out that the message names


def test_nothing_to_rank_by_is_said(compare, runs, tmp_path):
    for folder in (runs['A'], tmp_path / 'gt'):
        shutil.rmtree(folder / 'depth')
    said, _ = compare(runs, '--worst', 'depth', status=1)
    assert "No frame has a prediction of every run for 'depth'." in said and 'A 0, B 5' in said
    said, _ = compare(dict(B=runs['B']), '--worst', 'depth', status=1)
    assert re.search(
        r"No frame of .*gt \(val\) has a label for 'depth' and a prediction of its "
        r'size',
        said,
    )


@pytest.mark.parametrize(
    ('options', 'status', 'message'),
    [
        (
            ('--frames', 'f0', 'f11'),
            1,
            "--frames: ['f11'] are not in the split 'val' of {root}; it has ['f1'",
        ),
        (
            ('--worst', 'detph'),
            1,
            "--worst: expected one of ['semseg', 'depth'], the tasks that are drawn, got 'detph'",
        ),
        (('--differ', 'edge'), 1, "--differ: expected one of ['semseg', 'depth']"),
        (('--worst', 'depth', '--frames', 'f0'), 2, 'not allowed with argument'),
        (('--num-frames', 0), 2, '--num-frames: expected 1 or more, got 0'),
        (('--panel-size', 63), 2, '--panel-size: expected 64 pixels or more, got 63'),
    ],
)
def test_options_that_do_not_fit_are_named(compare, runs, root, options, status, message):
    said, pictures = compare(runs, *options, status=status)
    assert message.format(root=root) in said and not pictures


def test_one_run_does_not_differ(compare, runs):
    said, _ = compare(dict(A=runs['A']), '--differ', 'depth', status=2)
    assert '--differ: expected two runs or more' in said
    assert compare(dict(A=runs['A']), '--worst', 'depth', '--num-frames', 1)[1] == ['f1']


def test_the_labels_must_be_named(tool, runs):
    assert '--dataset needs GT_ROOT' in tool(
        '--dataset', 'nyud', '--preds', f'A={runs["A"]}', status=2
    )
