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
