"""Scoring files of predictions, as a user does it."""

import json
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import torch

from m2h_mm.engine.config import load_config
from m2h_mm.registry import MODELS
from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.semseg.colours import class_colours

SIZE = (12, 16)


@pytest.fixture
def evaluate(run):
    """``evaluate(*arguments, status=0)``: what the command printed, on one line."""

    def evaluate(*arguments: object, status: int = 0) -> str:
        return re.sub(r'\s+', ' ', run('eval-preds', *arguments, status=status))

    return evaluate


def metrics_of(path: Path) -> dict[str, float]:
    return json.loads(path.read_text())['metrics']


@pytest.fixture
def frames(tmp_path) -> Path:
    """Five frames in the layout of NYUD-MT; the last has no depth."""
    root, rng = tmp_path / 'gt', np.random.default_rng(0)
    for folder in ('images', 'segmentation', 'depth', 'gt_sets'):
        (root / folder).mkdir(parents=True)
    for index in range(5):
        cv2.imwrite(str(root / 'images' / f'{index}.png'), np.zeros((*SIZE, 3), np.uint8))
        cv2.imwrite(
            str(root / 'segmentation' / f'{index}.png'), rng.integers(1, 41, SIZE, dtype=np.uint8)
        )
        if index < 4:
            np.save(root / 'depth' / f'{index}.npy', rng.uniform(1, 4, SIZE).astype(np.float32))
    (root / 'gt_sets' / 'val.txt').write_text('\n'.join(map(str, range(5))))
    return root


@pytest.fixture
def preds(tmp_path) -> Path:
    """Random predictions of them, of all five."""
    rng, tasks = np.random.default_rng(1), build_tasks(['semseg', 'depth'])
    for index in range(5):
        tasks['semseg'].write_prediction(
            rng.integers(0, 39, SIZE), tmp_path / 'preds' / 'semseg' / f'{index}.png'
        )
        tasks['depth'].write_prediction(
            rng.uniform(1, 4, SIZE), tmp_path / 'preds' / 'depth' / f'{index}.npy'
        )
    return tmp_path / 'preds'


# ---- the numbers
def test_files_of_a_test_give_the_metrics_of_the_test(toy_config, run, evaluate, tmp_path):
    config = toy_config()
    torch.manual_seed(0)
    torch.save(
        dict(state_dict=MODELS.build(load_config(config).model).state_dict()),
        tmp_path / 'a.pth',
    )
    said = run(
        'test',
        config,
        tmp_path / 'a.pth',
        '--out',
        tmp_path / 'test.json',
        '--save-preds',
        tmp_path / 'exact',
        '--preds-format',
        'npy',
    )
    assert f'Predictions: {tmp_path / "exact"}' in said
    report = json.loads((tmp_path / 'test.json').read_text())
    assert report['num_frames'] == 3 and len(report['checkpoint_sha256']) == 64
    assert "type='MultiTaskModel'" in report['config_text'] and 'num_val=3' in report['config_text']

    evaluate(tmp_path / 'exact', '--config', config, '--out', tmp_path / 'exact.json')
    tested, exact = metrics_of(tmp_path / 'test.json'), metrics_of(tmp_path / 'exact.json')
    assert tested.keys() == exact.keys()
    for name, value in tested.items():
        # Normals are made unit vectors once more when they are read.
        assert exact[name] == (
            pytest.approx(value, rel=1e-6) if name.startswith('normals') else value
        ), name

    for name, task in build_tasks(['semseg', 'depth', 'normals', 'edge']).items():
        for path in (tmp_path / 'exact' / name).iterdir():
            task.write_prediction(np.load(path), tmp_path / 'png' / name / f'{path.stem}.png')
    evaluate(tmp_path / 'png', '--config', config)
    rounded = metrics_of(tmp_path / 'png' / 'results.json')
    # The boundary metric rounds to 8 bits itself.
    for name in ('semseg/mIoU', 'edge/odsF'):
        assert rounded[name] == tested[name]
    # A mean changes by no more than the largest change of a pixel.
    assert rounded['depth/rmse'] == pytest.approx(tested['depth/rmse'], abs=0.5e-3 + 1e-6)
    assert rounded['normals/mean'] == pytest.approx(
        tested['normals/mean'], abs=np.degrees(3**0.5 / 255)
    )
    for name in ('depth/rmse', 'normals/mean'):
        assert rounded[name] != tested[name]


def test_labels_are_perfect_predictions(nyud_sample, evaluate, tmp_path):
    """In the folders and formats of other code bases."""
    preds = tmp_path / 'preds'
    for folder in ('semseg', 'depth'):
        (preds / folder).mkdir(parents=True)
    for frame_id in ('000433', '000464'):
        ids = cv2.imread(
            str(nyud_sample / 'segmentation' / f'{frame_id}.png'), cv2.IMREAD_UNCHANGED
        )
        cv2.imwrite(str(preds / 'semseg' / f'{frame_id}.png'), np.maximum(ids, 1) - 1)
        depth = np.load(nyud_sample / 'depth' / f'{frame_id}.npy')
        scipy.io.savemat(preds / 'depth' / f'{frame_id}.mat', dict(depth=depth))
    shutil.copytree(nyud_sample / 'normals', preds / 'normals')
    shutil.copytree(nyud_sample / 'edge', preds / 'edge')
    said = evaluate(
        preds, nyud_sample, '--dataset', 'nyud', '--tasks', 'semseg', 'depth', 'normals'
    )
    assert (
        'semseg semseg/, 2 .png' in said
        and 'depth depth/, 2 .mat' in said
        and 'normals normals/, 1 .png' in said
    )
    metrics = metrics_of(preds / 'results.json')
    assert (
        metrics['semseg/mIoU'] == 100
        and metrics['depth/rmse'] == 0
        and metrics['normals/mean'] == 0
    )
    assert metrics['normals/within_11_25'] == 100 and not any(
        name.startswith('edge') for name in metrics
    )


def test_classes_from_one_need_the_flag(frames, evaluate, tmp_path):
    preds = tmp_path / 'preds'
    shutil.copytree(frames / 'segmentation', preds / 'segmentation')
    said = evaluate(preds, frames, '--dataset', 'nyud', status=1)
    assert (
        'The ids reach 40' in said
        and '--class-offset 1' in said
        and not (preds / 'results.json').exists()
    )
    evaluate(preds, frames, '--dataset', 'nyud', '--class-offset', '1')
    assert metrics_of(preds / 'results.json')['semseg/mIoU'] == 100


def test_files_of_another_program_are_described(frames, preds, evaluate, tmp_path):
    """Classes as the colours of the data set."""
    evaluate(preds, frames, '--dataset', 'nyud', '--tasks', 'semseg')
    theirs = tmp_path / 'theirs' / 'semseg'
    theirs.mkdir(parents=True)
    for path in (preds / 'semseg').iterdir():
        picture = class_colours(40)[cv2.imread(str(path), cv2.IMREAD_UNCHANGED)]
        cv2.imwrite(str(theirs / path.name), picture[..., ::-1])
    arguments = (theirs.parent, frames, '--dataset', 'nyud')
    assert 'semseg.palette' in evaluate(*arguments, status=1)
    evaluate(*arguments, '--prediction-format', 'semseg.palette=dataset')
    results = theirs.parent / 'results.json'
    assert metrics_of(results) == metrics_of(preds / 'results.json')
    evaluate(*arguments, '--label-format', 'semseg.first=0', '--overwrite', status=1)


# ---- what is not there
def test_what_is_left_out_and_what_is_too_much_is_said(frames, preds, evaluate):
    (preds / 'depth' / 'other.npy').write_bytes(b'')
    (preds / 'normals').mkdir()
    shutil.rmtree(preds / 'semseg')
    said = evaluate(preds, frames, '--dataset', 'nyud')
    assert (
        'semseg left out, no folder semseg/ or segmentation/' in said
        and 'edge left out, no folder edge/' in said
    )
    assert 'normals its folder is empty' in said
    assert 'Files of frames that are not in the split: depth 1' in said
    report = json.loads((preds / 'results.json').read_text())
    assert report['frames_scored'] == dict(depth=4, normals=0) and report['extra_files'] == dict(
        depth=1, normals=0
    )
    assert report['metrics']['depth/rmse'] > 0 and report['metrics']['normals/mean'] is None
    assert not any(name.startswith('semseg') for name in report['metrics'])


def test_all_files_that_do_not_fit_are_listed_before_the_work_starts(
    frames, preds, evaluate, tmp_path
):
    (preds / 'semseg' / '0.png').unlink()
    np.save(preds / 'depth' / '1.npy', np.ones((24, 32), np.float32))
    os.truncate(preds / 'depth' / '2.npy', 150)
    out = tmp_path / 'out.json'
    arguments = (preds, frames, '--dataset', 'nyud', '--out', out)
    for flags in ((), ('--allow-missing',)):
        said = evaluate(*arguments, *flags, status=1)
        assert (
            'semseg: 1 missing: 0' in said
            and '1 of the wrong size: 1 (24x32, its label 12x16)' in said
        )
        assert re.search(r'1 damaged: \S+2\.npy', said) and 'Scoring' not in said
    listed = json.loads((tmp_path / 'out.problems.json').read_text())
    assert listed['semseg']['missing'] == ['0'] and list(listed['depth']['damaged']) == ['2']

    (preds / 'depth' / '2.npy').unlink()
    assert '--allow-missing scores the rest' in evaluate(*arguments, status=1)
    assert not out.exists()
    said = evaluate(*arguments, '--allow-missing')
    assert (
        'semseg: 4 of 5 labelled frames scored' in said
        and 'depth: 2 of 4 labelled frames scored' in said
    )
    report = json.loads(out.read_text())
    assert report['not_scored'] == dict(
        semseg=dict(missing=['0'], wrong_size={}, damaged={}),
        depth=dict(missing=['2'], wrong_size={'1': '24x32, its label 12x16'}, damaged={}),
    )
    assert not (tmp_path / 'out.problems.json').exists(), 'is of an earlier run'
    (frames / 'gt_sets' / 'val.txt').write_text('3\n')
    evaluate(preds, frames, '--dataset', 'nyud', '--out', tmp_path / 'one.json')
    assert metrics_of(tmp_path / 'one.json')['depth/rmse'] != report['metrics']['depth/rmse']


def test_long_lists_are_cut(frames, preds, evaluate):
    ids = [str(index) for index in range(30)]
    for frame_id in ids[5:]:
        for folder in ('images', 'segmentation'):
            shutil.copy(frames / folder / '0.png', frames / folder / f'{frame_id}.png')
    (frames / 'gt_sets' / 'val.txt').write_text('\n'.join(ids))
    said = evaluate(preds, frames, '--dataset', 'nyud', status=1)
    assert 'semseg: 25 missing: 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, ... ' in said
    assert json.loads((preds / 'results.problems.json').read_text())['semseg']['missing'] == ids[5:]


def test_nothing_to_score_is_an_error(frames, preds, evaluate):
    (frames / 'gt_sets' / 'val.txt').write_text('4\n')
    shutil.rmtree(preds / 'semseg')
    assert 'Nothing to score' in evaluate(preds, frames, '--dataset', 'nyud', status=1)


# ---- interruptions
def test_a_run_goes_on_after_a_damaged_file_was_mended(frames, preds, evaluate, tmp_path):
    arguments = (preds, frames, '--dataset', 'nyud', '--out', tmp_path / 'out.json')
    evaluate(*arguments)
    whole, good = metrics_of(tmp_path / 'out.json'), (preds / 'semseg' / '2.png').read_bytes()
    (tmp_path / 'out.json').unlink()

    damaged = bytearray(good)
    damaged[50:80] = bytes(30)
    (preds / 'semseg' / '2.png').write_bytes(damaged)
    said = evaluate(*arguments, status=1)
    assert 'Stopped after 2 of 5 frames' in said and re.search(
        r'error: File \S+semseg/2\.png '
        r'cannot be read',
        said,
    )
    partial = tmp_path / 'out.json.partial'
    assert partial.exists() and not (tmp_path / 'out.json').exists()

    (preds / 'semseg' / '2.png').write_bytes(good)
    assert f'Going on after 2 of 5 frames ({partial})' in evaluate(*arguments)
    assert metrics_of(tmp_path / 'out.json') == whole and not partial.exists()


def test_a_changed_file_or_flag_starts_afresh(frames, preds, evaluate, tmp_path):
    arguments = (preds, frames, '--dataset', 'nyud', '--out', tmp_path / 'out.json')
    good = (preds / 'depth' / '3.npy').read_bytes()
    (preds / 'depth' / '3.npy').write_bytes(good[:60] + b'\xff' * 8 + good[68:])
    evaluate(*arguments, status=1)
    (preds / 'depth' / '3.npy').write_bytes(good)
    assert 'damaged' not in evaluate(*arguments)
    (tmp_path / 'out.json').unlink()

    tasks = build_tasks(['semseg'])
    tasks['semseg'].write_prediction(np.full(SIZE, 50), preds / 'semseg' / '2.png')
    evaluate(*arguments, status=1)
    tasks['semseg'].write_prediction(np.full(SIZE, 1), preds / 'semseg' / '2.png')
    partial = (tmp_path / 'out.json.partial').read_bytes()
    assert 'starting afresh' in evaluate(*arguments, '--tasks', 'depth')
    (tmp_path / 'out.json').unlink()
    (tmp_path / 'out.json.partial').write_bytes(partial)
    os.utime(preds / 'semseg' / '0.png', (1, 1))
    assert 'starting afresh' in evaluate(*arguments)


def test_results_of_others_stay(frames, preds, evaluate, tmp_path):
    theirs = preds / 'results.json'
    arguments = (preds, frames, '--dataset', 'nyud')
    for name in ('results.json', 'results.problems.json', 'results.json.partial'):
        (preds / name).write_text('{"their": "own results"}')
        assert f'{name} is there already' in evaluate(*arguments, status=1)
        (preds / name).rename(tmp_path / 'kept')
    label = next((frames / 'depth').iterdir())
    for read in (label, preds / 'depth' / '3.npy'):
        said = evaluate(*arguments, '--out', read, '--overwrite', status=1)
        assert 'is read by this command' in said
    theirs.write_text('{"their": "own results"}')
    evaluate(*arguments, '--overwrite')
    assert 'semseg/mIoU' in metrics_of(theirs)


# ---- arguments
def test_the_gain_over_single_task_models(frames, preds, evaluate, tmp_path):
    reference = {'semseg/mIoU': 1.0, 'depth/rmse': 2.0}
    (tmp_path / 'single.json').write_text(json.dumps(dict(metrics=reference)))
    said = evaluate(preds, frames, '--dataset', 'nyud', '--reference', tmp_path / 'single.json')
    metrics = metrics_of(preds / 'results.json')
    expected = 50 * ((metrics['semseg/mIoU'] - 1) / 1 + (2 - metrics['depth/rmse']) / 2)
    assert metrics['delta_m'] == pytest.approx(expected) and 'delta_m ↑' in said


def test_mistakes_are_one_message(frames, preds, evaluate, tmp_path):
    assert "has ['semseg', 'depth', 'normals', 'edge'], got ['dpth']" in evaluate(
        preds, frames, '--dataset', 'nyud', '--tasks', 'dpth', status=1
    )
    assert '--dataset needs GT_ROOT' in evaluate(preds, '--dataset', 'nyud', status=2)
    assert 'There is no folder' in evaluate(
        tmp_path / 'nowhere', frames, '--dataset', 'nyud', status=1
    )
    assert 'there is no' in evaluate(
        preds, frames, '--dataset', 'nyud', '--split', 'test', status=1
    )
