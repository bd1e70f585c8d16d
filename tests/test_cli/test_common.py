from pathlib import Path

import pytest

from m2h_mm.cli import common as cli
from m2h_mm.tasks import build_tasks


def test_our_errors_are_one_message(capsys):
    with pytest.raises(SystemExit) as stopped, cli.plain_errors():
        build_tasks(['detph'])
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert "Did you mean 'depth'" in said and 'Traceback' not in said


def test_errors_of_others_keep_their_traceback(monkeypatch):
    with pytest.raises(ValueError), cli.plain_errors():
        int('x')
    monkeypatch.setenv(cli.TRACEBACK_SWITCH, '1')
    with pytest.raises(ValueError, match='detph'), cli.plain_errors():
        build_tasks(['detph'])


def test_config_is_read_with_its_work_dir_and_options(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('lr = 1\n')
    cfg = cli.load_config(str(path), {'lr': 2})
    assert cfg.lr == 2 and cfg.work_dir == 'work_dirs/mine'
    assert cli.load_config(str(path), {}, 'elsewhere').work_dir == 'elsewhere'
    with pytest.raises(FileNotFoundError, match='There is no config'):
        cli.load_config(str(tmp_path / 'other.py'), {})


def test_tasks_are_kept_alone_in_a_work_dir_of_their_own():
    path = Path(__file__).parents[2] / 'configs' / 'm2h' / 'm2h_tiny_rooms.py'
    cfg = cli.load_config(str(path), {}, tasks=['depth'])
    assert (
        list(cfg.model.tasks)
        == list(cfg.model.heads)
        == list(cfg.train_dataloader.dataset.tasks)
        == ['depth']
    )
    assert cfg.work_dir == 'work_dirs/m2h_tiny_rooms_depth'
    with pytest.raises(ValueError, match="Did you mean 'depth'"):
        cli.load_config(str(path), {}, tasks=['detph'])


def test_the_command_line_says_where_the_labels_are(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        "test_dataloader = dict(dataset=dict(data_root='a', split='val', pipeline=[]))\n"
    )
    kept = cli.read_dataset_config(None, str(path), {}).test_dataloader.dataset
    assert (kept.data_root, kept.split, kept.test_mode) == ('a', 'val', True)
    changed = cli.read_dataset_config(
        None, str(path), {'test_dataloader.dataset.ratio': 2}, 'b', 'train'
    )
    assert (changed.test_dataloader.dataset.data_root, changed.test_dataloader.dataset.split) == (
        'b',
        'train',
    )
    assert changed.test_dataloader.dataset.ratio == 2
    assert cli.read_dataset_config('nyud', None, {}, 'b').test_dataloader.dataset.data_root == 'b'
    path.write_text('model = dict()\n')
    with pytest.raises(
        ValueError,
        match=r'mine.py: expected test_dataloader.dataset.*it has '
        r'.*model',
    ):
        cli.read_dataset_config(None, str(path), {})


def test_tasks_keep_their_order():
    tasks = build_tasks(['semseg', 'depth', 'edge'])
    assert list(cli.select_tasks(tasks, ['edge', 'semseg'])) == ['semseg', 'edge']
    assert cli.select_tasks(tasks, None) == tasks
    with pytest.raises(ValueError, match=r"--tasks: the data set has \['semseg'.*got \['detph'\]"):
        cli.select_tasks(tasks, ['edge', 'detph'])


def test_table_shows_both_and_the_headline(capsys):
    cli.print_metrics(
        {'depth/rmse': 0.5, 'depth/silog': 9.0, 'semseg/mIoU': 40.0},
        {'depth/rmse': 1.0},
        build_tasks(['semseg', 'depth']),
    )
    said = capsys.readouterr().out
    assert 'depth/rmse ↓' in said and '0.50x' in said and 'semseg/mIoU ↑' in said


def test_headlines_are_found_behind_the_name_of_a_data_set(capsys):
    cli.print_metrics(
        {'rooms/depth/rmse': 0.5, 'rooms/depth/silog': 9.0, 'nyud/delta_m': 1.5},
        None,
        build_tasks(['depth']),
    )
    said = capsys.readouterr().out
    assert 'rooms/depth/rmse ↓' in said and 'nyud/delta_m ↑' in said and 'silog ↓' not in said


def test_the_gain_comes_last(capsys):
    cli.print_metrics(
        {'delta_m': 1.5, 'depth/rmse': 0.5}, None, build_tasks(['depth']), note='54 of 60 frames'
    )
    said = capsys.readouterr().out
    assert said.index('depth/rmse ↓') < said.index('delta_m ↑') < said.index('54 of 60 frames')
