"""No run's copy of its config takes the place of another file."""

from mmengine.config import Config

from m2h_mm.engine.config_copy import copy_by_time, spare_file


def test_a_config_in_its_own_work_dir_stays(tmp_path):
    path = tmp_path / 'toy.py'
    path.write_text('a = dict(b=[1, 2])\nwork_dir = None\n')
    cfg = Config.fromfile(path)
    cfg.work_dir = str(tmp_path / 'work')
    assert spare_file(cfg) is cfg
    cfg.work_dir = str(tmp_path / 'work' / '..')
    for spared in (spare_file(cfg), copy_by_time(cfg)):
        assert spared.filename is None and spared.to_dict() == cfg.to_dict()
