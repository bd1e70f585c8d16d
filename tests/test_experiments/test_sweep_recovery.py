"""A run of a sweep goes on whatever has become of its files."""

import os
from types import SimpleNamespace

import pytest
import torch

from m2h_mm.experiments.sweep_recovery import is_finished, is_trained, recover


@pytest.fixture
def run(tmp_path):
    """A run that was trained for four iterations and not tested."""
    training = tmp_path / 'training'
    training.mkdir()
    for step in (2, 4):
        content = dict(
            meta=dict(iter=step, epoch=0),
            state_dict=dict(weight=torch.ones(3)),
            message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
        )
        torch.save(content, training / f'iter_{step}.pth')
        os.utime(training / f'iter_{step}.pth', (step, step))
    (training / 'last_checkpoint').write_text(str(training / 'iter_4.pth'))
    cfg = SimpleNamespace(train_cfg=dict(max_iters=4))
    return SimpleNamespace(training=training, results=tmp_path / 'results.json', cfg=cfg)


def spoil(path):
    path.write_bytes(path.read_bytes()[:-50])


def test_nothing_is_said_of_what_is_whole(run):
    assert is_trained(run) and recover(run) == [] and not is_finished(run)
    run.results.write_text('{"metrics": {}}')
    assert is_finished(run) and recover(run) == []


def test_a_damaged_last_checkpoint_is_trained_again(run):
    spoil(run.training / 'iter_4.pth')
    assert not is_trained(run)
    (said,) = recover(run)
    assert 'iter_4.pth (it is cut off' in said and said.endswith('it goes on from iter_2.pth')
    assert (run.training / 'iter_4.pth').exists()


def test_without_a_whole_one_it_begins_afresh(run):
    spoil(run.training / 'iter_2.pth')
    (run.training / 'iter_4.pth').write_bytes(b'')
    (said,) = recover(run)
    assert 'none is whole, it is trained afresh' in said
    assert sorted(path.name for path in run.training.iterdir()) == [
        'iter_2.pth.damaged',
        'iter_4.pth.damaged',
    ]
    assert recover(run) == [] and not is_trained(run)


@pytest.mark.parametrize('content', ['', '{"metrics": ', '[1]', '{"metrics": 3}'])
def test_damaged_results_are_no_results(run, content):
    run.results.write_text(content)
    assert not is_finished(run)
    (said,) = recover(run)
    assert 'results.json is damaged: it is tested again' in said and not run.results.exists()


def test_a_training_without_a_folder_has_nothing_to_recover(run):
    run.training = run.training / 'none'
    assert recover(run) == [] and not is_trained(run)
