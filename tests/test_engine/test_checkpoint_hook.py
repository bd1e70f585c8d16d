"""Whenever a training ends and whatever it leaves, it can go on."""

import contextlib
import os
import re
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from number_training import checkpoints, train

from m2h_mm.engine import mmengine_patches
from m2h_mm.engine.hooks.checkpoint_hook import CheckpointHook
from m2h_mm.registry import HOOKS
from m2h_mm.structures.checkpoint_file import read_checkpoint
from m2h_mm.system import files


class Stop(Hook):
    """Ends the process, as far as the test is concerned, after an iteration."""

    priority = 'LOWEST'

    def __init__(self, after):
        self.after = after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.after:
            raise KeyboardInterrupt


class Validations(Hook):
    """Notes after which iterations there was one; ends the process in that of ``cut``."""

    def __init__(self, cut=None):
        self.iterations, self.cut = [], cut

    def before_val_epoch(self, runner):
        torch.rand(runner.iter)
        if runner.iter == self.cut:
            raise KeyboardInterrupt
        self.iterations.append(runner.iter)


def last(work_dir):
    return Path((Path(work_dir) / 'last_checkpoint').read_text()).name


def spoil(path):
    path.write_bytes(path.read_bytes()[:-50])


def test_it_stands_in_the_place_of_mmengines():
    assert HOOKS.get('CheckpointHook') is CheckpointHook


def test_it_asks_for_mmengine_as_we_change_it(tmp_path, monkeypatch):
    monkeypatch.setattr(mmengine_patches, '_undo', None)
    with pytest.raises(RuntimeError, match=r'Call m2h_mm.engine.install\(\)'):
        train(tmp_path)


def test_any_program_reads_a_checkpoint_and_the_logged_curves_go_on(tmp_path):
    whole = train(tmp_path / 'whole', iters=4, validate=2)
    train(tmp_path / 'half', iters=2, validate=2)
    curve = torch.load(tmp_path / 'half' / 'iter_2.pth', weights_only=True)['message_hub'][
        'log_scalars'
    ]['train/loss']
    assert len(curve['values']) == 2 and curve['counts'].tolist() == [1, 1]
    resumed = train(tmp_path / 'half', iters=4, validate=2, resume=True)
    (values, counts), others = (
        runner.message_hub.get_scalar('train/loss').data for runner in (resumed, whole)
    )
    assert values.tolist() == others[0].tolist() and len(values) == 4
    assert counts.tolist() == others[1].tolist()


def test_a_checkpoint_of_a_plain_mmengine_goes_on(tmp_path):
    train(tmp_path, iters=2)
    path = tmp_path / 'iter_2.pth'
    checkpoint = read_checkpoint(path)
    curve = HistoryBuffer([3.0, 1.0], [1, 1])
    checkpoint['message_hub']['log_scalars'] = {'train/loss': curve}
    torch.save(checkpoint, path)
    resumed = train(tmp_path, iters=3, resume=True)
    assert resumed.message_hub.get_scalar('train/loss').data[0].tolist()[:2] == [3.0, 1.0]


@pytest.mark.parametrize('stop', [1, 2, 3, 5])
@pytest.mark.parametrize('validate', [0, 1])
def test_the_random_numbers_of_the_network_go_on(tmp_path, stop, validate):
    whole = train(tmp_path / 'whole', validate=validate)
    undisturbed_by_validation = train(tmp_path / 'plain')
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'killed', validate=validate, hooks=[Stop(stop)])
    resumed = train(tmp_path / 'killed', validate=validate, resume=True)
    for other in (resumed, undisturbed_by_validation):
        assert torch.equal(whole.model.layer.weight, other.model.layer.weight)


class FullDisk:
    """A disk that is full at the ``number``-th checkpoint of a name."""

    def __init__(self, monkeypatch, pattern, number):
        self.pattern, self.left = pattern, number
        self.replace = os.replace
        monkeypatch.setattr(files.os, 'replace', self)

    def __call__(self, source, target):
        self.left -= bool(re.fullmatch(self.pattern, Path(target).name))
        if self.left <= 0:
            raise OSError(28, 'No space left on device')
        self.replace(source, target)


@pytest.mark.parametrize('pattern', ['iter_.*', 'last_checkpoint', 'best_.*'])
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, pattern):
    with monkeypatch.context() as patch:
        FullDisk(patch, pattern, 5 if pattern == 'iter_.*' else 3)
        with pytest.raises(
            OSError,
            match='KiB.*could not be written: No space left.*Make room'
            + ('' if pattern == 'last_checkpoint' else '.*--resume'),
        ):
            train(tmp_path / 'full', iters=20, validate=2)
    left = checkpoints(tmp_path / 'full')
    assert not [name for name in left if name.endswith('.tmp')]
    best = [name for name in left if name.startswith('best')]
    assert last(tmp_path / 'full') in left and len(left) - len(best) >= 2 and best
    for name in left:
        assert read_checkpoint(tmp_path / 'full' / name)['state_dict']
    resumed = train(tmp_path / 'full', iters=20, validate=2, resume=True)
    whole = train(tmp_path / 'whole', iters=20, validate=2)
    assert torch.equal(resumed.model.layer.weight, whole.model.layer.weight)


def test_an_old_one_is_removed_after_the_new_one_is_whole(tmp_path, monkeypatch):
    seen = []
    write = files.os.replace

    def replace(source, target):
        write(source, target)
        seen.append(checkpoints(tmp_path))

    monkeypatch.setattr(files.os, 'replace', replace)
    train(tmp_path, iters=8)
    assert ['iter_2.pth', 'iter_4.pth', 'iter_6.pth'] in seen
    assert checkpoints(tmp_path) == ['iter_6.pth', 'iter_8.pth']


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        remove = CheckpointHook._remove

        def killed_at_the_third(self, paths):
            if paths:
                raise KeyboardInterrupt
            remove(self, paths)

        patch.setattr(CheckpointHook, '_remove', killed_at_the_third)
        train(tmp_path, iters=8)
    for name in (
        'iter_8.pth.4711.tmp',
        'best_score_iter_8.pth.4711.tmp',
        'last_checkpoint.4711.tmp',
        'mine.tmp',
    ):
        (tmp_path / name).touch()
    assert {'iter_2.pth', 'iter_4.pth', 'iter_6.pth'} <= set(checkpoints(tmp_path))
    train(tmp_path, iters=6, resume=True)
    assert checkpoints(tmp_path) == ['iter_4.pth', 'iter_6.pth']
    assert [path.name for path in tmp_path.glob('*.tmp')] == ['mine.tmp']


def test_the_best_of_another_work_dir_is_not_removed(tmp_path):
    train(tmp_path / 'one', iters=2, validate=2)
    checkpoint = read_checkpoint(tmp_path / 'one' / 'iter_2.pth')
    precious = tmp_path / 'precious.txt'
    precious.touch()
    checkpoint['message_hub']['runtime_info'].update(
        best_ckpt=str(precious), outdated_ckpts=[str(precious)]
    )
    (tmp_path / 'two').mkdir()
    torch.save(checkpoint, tmp_path / 'two' / 'iter_2.pth')
    train(tmp_path / 'two', iters=6, validate=2, resume=True)
    assert 'best_score_iter_6.pth' in checkpoints(tmp_path / 'two') and precious.exists()


def test_resuming_skips_damaged_ones_and_says_so(tmp_path, capfd):
    whole = train(tmp_path / 'whole')
    train(tmp_path / 'damaged')
    spoil(tmp_path / 'damaged' / 'iter_6.pth')
    resumed = train(tmp_path / 'damaged', resume=True)
    said = ''.join(capfd.readouterr())
    assert re.search(
        r'Skipped, though newer than .*iter_4.pth:\s+.*iter_6.pth: it is cut off', said
    )
    assert torch.equal(whole.model.layer.weight, resumed.model.layer.weight)


def test_a_damaged_file_by_name_is_refused_with_another_offered(tmp_path):
    train(tmp_path)
    spoil(tmp_path / 'iter_6.pth')
    with pytest.raises(
        ValueError,
        match=r'iter_6.pth.*cut off.*newest valid one beside it is '
        r'.*iter_4.pth',
    ):
        train(tmp_path, resume=True, load_from=str(tmp_path / 'iter_6.pth'))
    spoil(tmp_path / 'iter_4.pth')
    with pytest.raises(
        ValueError,
        match=r'(?s)any checkpoint.*iter_6.pth: .*iter_4.pth: .*Move '
        r'them',
    ):
        train(tmp_path, resume=True)
    with pytest.raises(ValueError, match='no valid one beside it'):
        train(tmp_path, resume=True, load_from=str(tmp_path / 'iter_6.pth'))


@pytest.mark.parametrize('cut', [2, 4, 6])
@pytest.mark.parametrize('rule', ['greater', 'less'])
def test_a_validation_that_was_cut_off_is_made_up_for(tmp_path, cut, rule):
    """By ``less`` only the first one is the best so far, and the others leave the checkpoint as it
    is.
    """
    whole = train(tmp_path / 'whole', validate=2, rule=rule)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'cut', validate=2, rule=rule, hooks=[Validations(cut)])
    seen, after = Validations(), Validations()
    with contextlib.suppress(KeyboardInterrupt):
        train(tmp_path / 'cut', validate=2, rule=rule, hooks=[seen, Stop(cut + 1)], resume=True)
    assert seen.iterations == [cut]
    resumed = train(tmp_path / 'cut', validate=2, rule=rule, hooks=[after], resume=True)
    assert after.iterations == list(range(cut + 2, 7, 2))
    assert torch.equal(whole.model.layer.weight, resumed.model.layer.weight)


def test_an_empty_work_dir_is_a_fresh_start(tmp_path):
    assert train(tmp_path, iters=2, resume=True).iter == 2


def test_the_config_in_a_checkpoint_is_not_run(tmp_path):
    """Runner.resume() would, if it is there under the name of old versions."""
    train(tmp_path, iters=2)
    checkpoint = read_checkpoint(tmp_path / 'iter_2.pth')
    checkpoint['meta']['config'] = f'import os\nos.mkdir({str(tmp_path / "exploded")!r})\n'
    torch.save(checkpoint, tmp_path / 'iter_2.pth')
    assert train(tmp_path, iters=3, resume=True).iter == 3
    assert not (tmp_path / 'exploded').exists()
