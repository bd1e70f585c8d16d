import os
import pickle
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from m2h_mm.engine import checkpoints as checkpoint
from m2h_mm.engine.checkpoints import load_weights, read_checkpoint
from m2h_mm.registry import MODELS


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class StolenGetattr:
    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


def test_curves_beside_the_weights_are_read(tmp_path):
    curve = HistoryBuffer()
    curve.update(3.0)
    torch.save(
        dict(state_dict=dict(weight=torch.ones(2)), message_hub=dict(loss=curve)),
        tmp_path / 'a.pth',
    )
    read = read_checkpoint(tmp_path / 'a.pth')
    assert read['state_dict']['weight'].sum() == 2 and read['message_hub']['loss'].current() == 3


def test_no_code_is_run(tmp_path):
    torch.save(dict(state_dict=Bomb(tmp_path / 'exploded')), tmp_path / 'bomb.pth')
    with pytest.raises(ValueError, match='bomb.pth was not loaded.*could run code'):
        read_checkpoint(tmp_path / 'bomb.pth')
    assert not (tmp_path / 'exploded').exists()
    torch.save(StolenGetattr(), tmp_path / 'getattr.pth')
    with pytest.raises(ValueError, match='could run code'):
        read_checkpoint(tmp_path / 'getattr.pth')


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Address of ``tmp_path`` on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'downloads'))
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=tmp_path)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


@pytest.mark.parametrize('plain_pickle', [False, True])
def test_mmengine_and_mmseg_run_no_code_either(tmp_path, served, plain_pickle):
    model = nn.Linear(2, 2)
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(config='code', epoch=3)),
        tmp_path / 'good.pth',
    )
    bomb = dict(state_dict=Bomb(tmp_path / 'exploded'))
    if plain_pickle:
        (tmp_path / 'bomb.pth').write_bytes(pickle.dumps(bomb, protocol=2))
    else:
        torch.save(bomb, tmp_path / 'bomb.pth')
    for place in (tmp_path, served):
        other = nn.Linear(2, 2)
        loaded = load_checkpoint(other, f'{place}/good.pth')
        assert torch.equal(other.weight, model.weight) and loaded['meta'] == dict(epoch=3)
        with pytest.raises(ValueError, match='bomb.pth was not loaded.*could run code'):
            load_checkpoint(nn.Linear(2, 2), f'{place}/bomb.pth')
    backbone = MODELS.build(
        dict(
            type='mmseg.ResNetV1c',
            depth=18,
            base_channels=8,
            init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'bomb.pth')),
        )
    )
    with pytest.raises(ValueError, match='could run code'):
        backbone.init_weights()
    assert not (tmp_path / 'exploded').exists()


def test_every_loader_of_mmengine_is_replaced():
    for scheme, loader in CheckpointLoader._schemes.items():
        assert loader.__code__.co_filename == checkpoint.__file__, scheme


def test_a_damaged_or_absent_file_is_named(tmp_path):
    torch.save(dict(weight=torch.ones(1000)), tmp_path / 'whole.pth')
    (tmp_path / 'half.pth').write_bytes((tmp_path / 'whole.pth').read_bytes()[:2000])
    with pytest.raises(ValueError, match='half.pth'):
        read_checkpoint(tmp_path / 'half.pth')
    with pytest.raises(FileNotFoundError, match='none.pth'):
        read_checkpoint(tmp_path / 'none.pth')


def test_weights_fit_or_are_refused_by_name(tmp_path):
    model = nn.Linear(3, 2)
    state = {
        'weight': torch.ones(2, 3),
        'bias': torch.zeros(2),
        'weighting.means': torch.ones(2, 4),
    }
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    load_weights(
        model, tmp_path / 'a.pth'
    )  # the state of a training's weighting is not the model's
    assert model.weight.sum() == 6

    torch.save({'weight': torch.zeros(2, 5), 'scale': torch.zeros(1)}, tmp_path / 'b.pth')
    differences = r'1 missing .*bias.* 1 not in the model .*scale.* 1 of another shape .*weight \(2, 5\) for \(2, 3\)'
    with pytest.raises(ValueError, match=differences):
        load_weights(model, tmp_path / 'b.pth')
    assert model.weight.sum() == 6

    for key, tool in (
        ('mlt_head.convs.0.conv.weight', 'm2h'),
        ('module.multi_task_decoder.x', 'invpt'),
        ('distillation_scale_0.x', 'mti_net'),
        ('multi_modal_distillation.x', 'mti_net'),
    ):
        torch.save({key: torch.zeros(1)}, tmp_path / 'official.pt')
        with pytest.raises(ValueError, match=f'tools/model_converters/{tool}.py'):
            load_weights(model, tmp_path / 'official.pt')
