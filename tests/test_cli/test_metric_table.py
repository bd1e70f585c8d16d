from m2h_mm.cli.metric_table import print_metrics
from m2h_mm.tasks import build_tasks


def test_table_shows_both_and_the_headline(capsys):
    print_metrics(
        {'depth/rmse': 0.5, 'depth/silog': 9.0, 'semseg/mIoU': 40.0},
        {'depth/rmse': 1.0},
        build_tasks(['semseg', 'depth']),
    )
    said = capsys.readouterr().out
    assert 'depth/rmse ↓' in said and '0.50x' in said and 'semseg/mIoU ↑' in said


def test_headlines_are_found_behind_the_name_of_a_data_set(capsys):
    print_metrics(
        {'rooms/depth/rmse': 0.5, 'rooms/depth/silog': 9.0, 'nyud/delta_m': 1.5},
        None,
        build_tasks(['depth']),
    )
    said = capsys.readouterr().out
    assert 'rooms/depth/rmse ↓' in said and 'nyud/delta_m ↑' in said and 'silog ↓' not in said


def test_the_gain_comes_last(capsys):
    print_metrics(
        {'delta_m': 1.5, 'depth/rmse': 0.5}, None, build_tasks(['depth']), note='54 of 60 frames'
    )
    said = capsys.readouterr().out
    assert said.index('depth/rmse ↓') < said.index('delta_m ↑') < said.index('54 of 60 frames')
