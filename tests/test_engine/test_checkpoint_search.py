import contextlib
import os
import re
from operator import attrgetter

import numpy as np
import pytest
import torch

from m2h_mm.engine.checkpoint_search import find_checkpoint, find_problem
from m2h_mm.engine.checkpoints import read_checkpoint
from m2h_mm.structures.checkpoint_file import write_checkpoint


def content(size=5000, **more):
    """Of a checkpoint, without an optimizer."""
    hub = dict(log_scalars={}, runtime_info={}, resumed_keys={})
    meta = dict(iter=1, epoch=0)
    return dict(meta=meta, state_dict=dict(weight=torch.randn(size)), message_hub=hub, **more)


def save(path, seconds):
    """A checkpoint that was written so many seconds after a fixed time."""
    path.parent.mkdir(exist_ok=True)
    torch.save(content(), path)
    os.utime(path, (10**9 + seconds,) * 2)
    return path


@pytest.fixture
def work_dir(tmp_path):
    """Checkpoints of iterations 2, 4 and 6, written in this order."""
    for step in (2, 4, 6):
        save(tmp_path / f'iter_{step}.pth', step)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_6.pth'))
    return tmp_path


def rewrite(path, change):
    times = path.stat()
    path.write_bytes(change(bytearray(path.read_bytes())))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def flip(content):
    content[len(content) // 2] ^= 1
    return content


@pytest.mark.parametrize(
    'pointer', [None, '', 'nowhere/iter_9.pth', 'iter_4.pth', 'a\0b', b'\xff\xfe']
)
def test_a_pointer_may_be_missing_or_wrong_or_behind(work_dir, pointer):
    path = work_dir / 'last_checkpoint'
    path.unlink()
    if pointer is not None:
        path.write_bytes(pointer if isinstance(pointer, bytes) else pointer.encode())
    found, skipped = find_checkpoint(work_dir)
    assert found == work_dir / 'iter_6.pth'
    assert ('iter_9.pth' in map(attrgetter('name'), skipped)) == (pointer == 'nowhere/iter_9.pth')


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda content: content[:-100], 'cut off'),
        (lambda content: b'', 'cut off'),
        (lambda content: content[:10], 'cut off'),
        (flip, 'damaged, in .*data/0'),
    ],
)
def test_damaged_ones_are_skipped_with_the_reason(work_dir, change, reason):
    rewrite(work_dir / 'iter_6.pth', change)
    found, skipped = find_checkpoint(work_dir)
    assert found == work_dir / 'iter_4.pth' and list(skipped) == [work_dir / 'iter_6.pth']
    assert re.search(reason, skipped[work_dir / 'iter_6.pth'])


def test_no_damage_is_a_crash(work_dir):
    """Wrong bytes anywhere, in names and sizes of the archive too."""
    path = work_dir / 'iter_6.pth'
    torch.save(content(3), path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    found = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        found += find_problem(path) is not None
        with contextlib.suppress(ValueError):
            read_checkpoint(path)
    assert found > 150  # the others are in padding and times


def test_an_earlier_training_that_got_farther_is_not_gone_on_from(work_dir):
    save(work_dir / 'iter_9.pth', 0)
    assert find_checkpoint(work_dir)[0].name == 'iter_6.pth'
    (work_dir / 'last_checkpoint').unlink()
    assert find_checkpoint(work_dir)[0].name == 'iter_6.pth'


def test_a_copied_work_dir_is_looked_into_instead_of_the_one_it_comes_from(work_dir):
    copy = work_dir / 'copy'
    for step, seconds in ((6, 1), (4, 2), (2, 3)):  # the times are those of the copying
        save(copy / f'iter_{step}.pth', seconds)
    (copy / 'last_checkpoint').write_text(str(work_dir / 'iter_6.pth'))
    assert find_checkpoint(copy)[0] == copy / 'iter_6.pth'


def test_checkpoints_in_another_folder_are_found_by_the_pointer(work_dir, tmp_path):
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'last_checkpoint').write_text(str(work_dir / 'iter_4.pth'))
    assert find_checkpoint(other)[0] == work_dir / 'iter_6.pth'


def test_weights_alone_are_nothing_to_go_on_from(work_dir):
    torch.save(dict(state_dict={}), work_dir / 'converted.pth')
    save(work_dir / 'best_depth_rmse_iter_8.pth', 10**6)
    assert 'no meta, message_hub' in find_problem(work_dir / 'converted.pth')
    found, skipped = find_checkpoint(work_dir)
    assert (
        found == work_dir / 'iter_6.pth' and work_dir / 'best_depth_rmse_iter_8.pth' not in skipped
    )


def test_nothing_there(tmp_path):
    assert find_checkpoint(tmp_path) == find_checkpoint(tmp_path / 'missing') == (None, {})


@pytest.mark.parametrize('pointed', ['.', '/etc', '..', 'x' * 5000, '\x80', 'images\nb'])
def test_a_pointer_to_what_is_no_checkpoint_is_as_good_as_none(work_dir, pointed):
    (work_dir / 'last_checkpoint').write_text(pointed)
    assert find_checkpoint(work_dir)[0] == work_dir / 'iter_6.pth'


def test_a_pointer_opens_no_file_of_others(work_dir, tmp_path):
    (tmp_path / 'secret').write_bytes(b'of somebody')
    (work_dir / 'last_checkpoint').write_text(str(tmp_path / 'secret'))
    found, skipped = find_checkpoint(work_dir)
    assert found == work_dir / 'iter_6.pth' and tmp_path / 'secret' not in skipped


def test_a_folder_of_several_processes_is_pointed_to(work_dir):
    (work_dir / 'iter_8').mkdir()
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'iter_8'))
    assert find_checkpoint(work_dir)[0] == work_dir / 'iter_6.pth'
    (work_dir / 'iter_8' / '.metadata').touch()
    assert find_checkpoint(work_dir)[0] == work_dir / 'iter_8'


def test_a_file_of_weights_alone_is_no_checkpoint_to_go_on_from(tmp_path):
    write_checkpoint(tmp_path / 'a.safetensors', content()['state_dict'], {})
    assert 'no state of a training' in find_problem(tmp_path / 'a.safetensors')
