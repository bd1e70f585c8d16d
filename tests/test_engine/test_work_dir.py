"""A work dir belongs to one training."""

import pytest
import torch
from mmengine.config import Config

from m2h_mm.engine.work_dir import work_dir_of_one_training


def save(path, run=None):
    """A checkpoint of the training that is named so."""
    hub = dict(runtime_info={} if run is None else dict(run_id=run))
    torch.save(dict(message_hub=hub, state_dict={}), path)
    return str(path)


@pytest.fixture
def used(tmp_path):
    """A work dir that a training has left, and what somebody keeps there."""
    folder = tmp_path / 'used'
    folder.mkdir()
    for name in ('iter_2.pth', 'iter_4.pth', 'best_depth_rmse_iter_2.pth', 'dinov2.pth'):
        save(folder / name, 'a')
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_4.pth'))
    return folder


def begin(folder, overwrite=False, **options):
    cfg = Config(dict(work_dir=str(folder), **options))
    with work_dir_of_one_training(cfg, overwrite):
        pass


def test_a_second_training_waits_outside(tmp_path):
    with work_dir_of_one_training(Config(dict(work_dir=str(tmp_path / 'new')))):
        with pytest.raises(ValueError, match='another training is writing to .*new.*process'):
            begin(tmp_path / 'new', resume=True)
        begin(tmp_path / 'other')
    begin(tmp_path / 'new')


def test_a_fresh_start_does_not_eat_the_checkpoints_of_another(used):
    with pytest.raises(
        ValueError,
        match='checkpoints of another training: .*--resume.*--work-dir.*--overwrite',
    ):
        begin(used)
    begin(used, resume=True)
    begin(used, resume=True, load_from=str(used / 'iter_2.pth'))
    assert len(list(used.glob('*.pth'))) == 4
    with pytest.raises(ValueError, match='--overwrite: .*iter_2.pth, with which .* begins'):
        begin(used, overwrite=True, load_from=str(used / 'iter_2.pth'))
    begin(used, overwrite=True)
    assert sorted(path.name for path in used.iterdir()) == ['.lock', 'dinov2.pth']
    begin(used)  # what is left is no training's


@pytest.mark.parametrize('run', ['a', 'b', None])
def test_one_from_elsewhere_goes_on_among_its_own(used, tmp_path, run):
    options = dict(resume=True, load_from=save(tmp_path / 'copy.pth', run))
    if run == 'a':
        begin(used, **options)
        return
    with pytest.raises(ValueError, match='checkpoints of another training'):
        begin(used, **options)


def test_checkpoints_may_go_elsewhere(used, tmp_path):
    hook = dict(checkpoint=dict(out_dir=str(tmp_path)))
    with pytest.raises(ValueError, match='checkpoints of another training'):
        begin(tmp_path / 'work' / 'used', default_hooks=hook)
