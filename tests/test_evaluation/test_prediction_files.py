"""Finding, checking and reading files of predictions, and scoring that can be interrupted."""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from full_disk import full_disk
from label_fields import label_field
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from m2h_mm.evaluation import MultiTaskEvaluator
from m2h_mm.evaluation.prediction_files import (
    check_predictions,
    index_predictions,
    look_at_predictions,
    prediction_folder,
    prediction_readers,
)
from m2h_mm.evaluation.resumable import ResumableScoring
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.depth.metric import DepthMetric

TASKS = build_tasks(dict(semseg=dict(num_classes=4), depth={}, normals={}, edge={}))


def write(folder: Path, name: str, frame_id: str, suffix: str, size=(6, 8)) -> Path:
    """A file of zeros (depth: ones)."""
    path = folder / name / f'{frame_id}{suffix}'
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == '.mat':
        scipy.io.savemat(path, dict(depth=np.ones(size, np.float32)))
    else:
        TASKS['semseg'].write_prediction(np.zeros(size, np.uint8), path)
    return path


@pytest.mark.parametrize('name', ['semseg', 'segmentation'])
def test_both_names_of_a_folder_and_ids_with_slashes_and_dots(tmp_path, name):
    paths = {
        frame_id: write(tmp_path, name, frame_id, '.png')
        for frame_id in ('0001', 'room/0002', 'a.b/0003.left')
    }
    (tmp_path / name / 'notes.txt').write_text('')
    (tmp_path / name / '.hidden.png').write_text('')
    assert index_predictions(tmp_path, TASKS) == dict(semseg=paths)
    assert prediction_folder(tmp_path, TASKS['semseg']) == tmp_path / name
    assert prediction_folder(tmp_path, TASKS['depth']) is None


def test_the_folder_that_other_code_calls_sal(tmp_path):
    write(tmp_path, 'sal', '0001', '.png')
    assert list(index_predictions(tmp_path, build_tasks(['saliency']))['saliency']) == ['0001']


def test_formats_may_be_mixed_but_not_for_one_frame(tmp_path):
    write(tmp_path, 'depth', '1', '.mat')
    write(tmp_path, 'depth', '2', '.npy')
    assert set(index_predictions(tmp_path, TASKS)['depth']) == {'1', '2'}
    write(tmp_path, 'depth', '2', '.png')
    with pytest.raises(ValueError, match=r"Two files for frame '2': .*2\.npy and .*2\.png"):
        index_predictions(tmp_path, TASKS)


def test_two_folders_for_a_task_are_an_error_unless_they_are_one(tmp_path):
    write(tmp_path, 'semseg', '1', '.png')
    (tmp_path / 'segmentation').symlink_to(tmp_path / 'semseg')
    assert list(index_predictions(tmp_path, TASKS)) == ['semseg']
    (tmp_path / 'segmentation').unlink()
    (tmp_path / 'segmentation').mkdir()
    with pytest.raises(ValueError, match=r'Two folders.*semseg and .*segmentation'):
        index_predictions(tmp_path, TASKS)


def test_no_folder_at_all_says_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match='There is no folder'):
        index_predictions(tmp_path / 'nowhere', TASKS)
    (tmp_path / 'seg').mkdir()
    with pytest.raises(
        FileNotFoundError,
        match=r'semseg/ or segmentation/, depth/.*it has '
        r"\['seg'\]",
    ):
        index_predictions(tmp_path, TASKS)


def test_every_label_is_looked_up(tmp_path):
    for frame_id in ('ok', 'small', 'cut', 'unlabelled', 'extra'):
        write(tmp_path, 'depth', frame_id, '.npy', size=(3, 8) if frame_id == 'small' else (6, 8))
    os.truncate(tmp_path / 'depth' / 'cut.npy', 40)
    write(tmp_path, 'edge', 'ok', '.npy')
    frames = [(frame_id, (6, 8), ['depth', 'normals']) for frame_id in ('gone', 'small', 'cut')]
    frames += [('unlabelled', (6, 8), []), ('ok', (6, 8), ['depth', 'edge', 'normals'])]
    scored, problems = check_predictions(frames, index_predictions(tmp_path, TASKS))

    (frame,) = scored
    assert (frame.index, frame.frame_id, frame.size) == (4, 'ok', (6, 8))
    assert frame.files == {name: tmp_path / name / 'ok.npy' for name in ('depth', 'edge')}
    assert set(problems) == {'depth', 'edge'} and not problems['edge']
    depth = problems['depth']
    assert depth.missing == ['gone'] and depth.wrong_size == {'small': '3x8, its label 6x8'}
    assert list(depth.damaged) == ['cut'] and 'cut.npy' in depth.damaged['cut']
    assert 'delete it' not in depth.damaged['cut'], 'the cause alone: the list has its own advice'


def test_classes_counted_from_one(tmp_path):
    task, path = TASKS['semseg'], tmp_path / 'a.png'
    ids = np.array([[0, 1], [2, 3]])
    task.write_prediction(ids + 1, path)
    np.testing.assert_array_equal(task.for_predictions(first=1).read_prediction(path), ids)
    with pytest.raises(
        ValueError, match=r'a\.png.*0\.\.3.*values \[4\].*reach 4.*--class-offset 1'
    ):
        task.read_prediction(path)
    task.write_prediction(ids, path)
    np.testing.assert_array_equal(task.read_prediction(path), ids)
    with pytest.raises(
        ValueError,
        match=r'a\.png.*expected integer class ids 1\.\.4.*--class-offset 1',
    ):
        task.for_predictions(first=1).read_prediction(path)
    task.write_prediction(ids + 100, path)
    with pytest.raises(ValueError, match=r'0\.\.3 .* holds the values \[100, 101, 102, 103\]\.$'):
        task.read_prediction(path)


def test_the_offset_is_for_semantic_classes_only(tmp_path):
    parts = build_tasks(['human_parts'])['human_parts']
    parts.write_prediction(np.array([[0, 6]]), tmp_path / 'a.png')
    reader = prediction_readers({'human_parts': parts}, {}, first_class=1)['human_parts']
    np.testing.assert_array_equal(reader.read_prediction(tmp_path / 'a.png'), [[0, 6]])


@pytest.mark.parametrize('value', [1e300, np.nan, np.inf, True, 1 + 2j, np.datetime64('2020')])
@pytest.mark.parametrize('name', ['semseg', 'depth', 'normals', 'edge'])
def test_what_makes_no_sense_is_not_scored(tmp_path, name, value):
    """True and False are edges, though."""
    shape = (6, 8, 3) if name == 'normals' else (6, 8)
    (tmp_path / name).mkdir()
    for frame_id in '12':
        np.save(tmp_path / name / f'{frame_id}.npy', np.full(shape, value))
    tasks = {name: TASKS[name]}
    readers, found = prediction_readers(tasks, {}), index_predictions(tmp_path, tasks)
    if (name, value) == ('edge', True):
        look_at_predictions(readers, found)
        return
    with pytest.raises(ValueError, match=rf'{name}/1\.npy'):
        look_at_predictions(readers, found)


def test_suffixes_in_capitals(tmp_path):
    path = write(tmp_path, 'semseg', '1', '.png')
    path = path.rename(path.with_suffix('.PNG'))
    assert index_predictions(tmp_path, TASKS) == dict(semseg={'1': path})
    scored, _ = check_predictions([('1', (6, 8), ['semseg'])], dict(semseg={'1': path}))
    assert scored[0].files == dict(semseg=path)
    assert (TASKS['semseg'].read_prediction(path) == 0).all()
    write(tmp_path, 'semseg', '1', '.png')
    with pytest.raises(ValueError, match="Two files for frame '1'"):
        index_predictions(tmp_path, TASKS)


@pytest.mark.parametrize(
    'formats, message',
    [
        (dict(parts=dict(first=1)), r"\['parts'\] are not among the tasks that are scored"),
        (dict(edge=dict(ys=1)), "--prediction-format edge.ys: .*mean 'yes'"),
        (dict(edge=dict(void=255)), '--prediction-format edge.void: a prediction says'),
    ],
)
def test_a_format_that_makes_no_sense_is_named(formats, message):
    with pytest.raises(ValueError, match=message):
        prediction_readers(TASKS, formats)


# ---- scoring
COUNT = 7
SCORED = {name: TASKS[name] for name in ('semseg', 'depth')}


def sample(position: int) -> MultiTaskDataSample:
    generator = torch.Generator().manual_seed(position)
    depth = torch.rand(2, 1, 6, 8, generator=generator) * 5 + 0.1
    classes = torch.randint(0, 4, (2, 1, 6, 8), generator=generator)
    return MultiTaskDataSample(
        gt_depth=label_field(depth[0]),
        pred_depth=PixelData(data=depth[1]),
        gt_semseg=label_field(classes[0]),
        pred_semseg=PixelData(data=classes[1]),
    )


class Run:
    """One start of a program that scores ``COUNT`` frames; it fails at one of them."""

    def __init__(
        self,
        path: Path,
        fails_at: int | None = None,
        error: type[BaseException] = ValueError,
        settings: str = 'a',
        files: dict | None = None,
        save_seconds: float = 20,
    ) -> None:
        self.fails_at, self.error, self.files, self.loaded = fails_at, error, files or {}, []
        metrics = dict(semseg=dict(per_class=False), depth=dict(image_mean=['rmse']))
        evaluator = MultiTaskEvaluator(SCORED, metrics)
        self.scoring = ResumableScoring(
            evaluator, COUNT, self.load, self.stamp, settings, path, save_seconds
        )

    def stamp(self, position: int) -> str:
        return self.files.get(position, f'frame {position}')

    def load(self, position: int) -> MultiTaskDataSample:
        if position == self.fails_at:
            raise self.error(f'frame {position}')
        self.loaded.append(position)
        return sample(position)


@pytest.fixture
def whole(tmp_path) -> dict:
    path = tmp_path / 'whole'
    run = Run(path)
    metrics = run.scoring.run()
    assert sorted(run.loaded) == list(range(COUNT)) and not path.exists()
    return metrics


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize('fails_at', [0, 1, 4, COUNT - 1])
def test_an_interrupted_run_ends_with_the_same_numbers(tmp_path, whole, error, fails_at):
    path = tmp_path / 'state'
    with pytest.raises(error):
        Run(path, fails_at, error).scoring.run()
    assert path.exists() == (fails_at > 0)
    run = Run(path, files={fails_at: 'repaired'})
    assert run.scoring.done == fails_at and not run.scoring.restarted
    counted = []
    assert run.scoring.run(lambda: counted.append(1)) == whole
    assert sorted(run.loaded) == list(range(fails_at, COUNT)) and len(counted) == COUNT - fails_at
    run.scoring.finish()
    assert not path.exists()


def test_an_interruption_between_two_metrics_counts_the_frame_in_none(tmp_path, whole, monkeypatch):
    process, calls = DepthMetric.process, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        process(self, *args)

    monkeypatch.setattr(DepthMetric, 'process', interrupted)
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path / 'state').scoring.run()
    monkeypatch.undo()
    run = Run(tmp_path / 'state')
    assert run.scoring.done == 2 and run.scoring.run() == whole


def test_an_interruption_after_the_last_frame_loses_nothing(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(Evaluator, 'evaluate', lambda self, size: int('x'))
    with pytest.raises(ValueError):
        Run(tmp_path / 'state').scoring.run()
    monkeypatch.undo()
    run = Run(tmp_path / 'state')
    assert run.scoring.done == COUNT and run.scoring.run() == whole and run.loaded == []


@pytest.mark.parametrize('change', [dict(settings='b'), dict(files={1: 'changed'}), None])
def test_other_settings_or_changed_or_damaged_files_start_afresh(tmp_path, whole, change):
    path = tmp_path / 'state'
    with pytest.raises(ValueError):
        Run(path, 4).scoring.run()
    if change is None:
        os.truncate(path, 100)
    run = Run(path, **(change or {}))
    assert run.scoring.done == 0 and run.scoring.restarted
    assert run.scoring.run() == whole


@pytest.mark.parametrize(
    'change',
    [
        dict(done=-1),
        dict(done=10**9),
        dict(done='4'),
        dict(done=4.0),
        dict(metrics=[]),
        dict(metrics=[3, 4]),
        dict(metrics=[dict(sum=dict(matrix=torch.zeros(1)), last=None, seen=4)] * 2),
        dict(digest=None),
    ],
)
def test_a_state_that_something_else_wrote_starts_afresh(tmp_path, whole, change):
    path = tmp_path / 'state'
    with pytest.raises(ValueError):
        Run(path, 4).scoring.run()
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    run = Run(path)
    assert run.scoring.done == 0 and run.scoring.restarted and run.scoring.run() == whole


def test_a_kill_loses_no_more_than_what_came_after_the_last_save(tmp_path, whole, monkeypatch):
    path = tmp_path / 'state'
    run = Run(path, save_seconds=0)
    seen = []
    run.scoring.run(
        lambda: seen.append(torch.load(path, weights_only=True)['done'] if path.exists() else 0)
    )
    assert seen == list(range(COUNT)), 'saved after every frame, and readable without running code'
    again = Run(path)
    assert again.scoring.done == COUNT and again.scoring.run() == whole


def test_predictions_are_listed_as_labels_are(tmp_path, capsys):
    folder = tmp_path / 'depth'
    for name in ('scene0/0.NPY', 'scene1/0.npy', 'ku\u0308che.npy', 'notes.txt'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / 'loop').symlink_to(folder)
    (found,) = index_predictions(tmp_path, dict(depth=TASKS['depth'])).values()
    assert list(found) == ['k\u00fcche', 'scene0/0', 'scene1/0']
    said = capsys.readouterr().out
    assert 'other suffixes: 1 .txt' in said and 'listed already' in said


def test_a_full_disk_hides_neither_the_result_nor_the_error(tmp_path, whole):
    path = tmp_path / 'state'
    with full_disk(), pytest.warns(UserWarning, match='state .* could not be written'):
        assert Run(path, save_seconds=0).scoring.run() == whole
    with full_disk(), pytest.warns(UserWarning), pytest.raises(ValueError, match='frame 4'):
        Run(path, 4).scoring.run()
    assert os.listdir(tmp_path) == []
