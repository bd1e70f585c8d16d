"""mmengine as we change it, and as it was."""

import os
import pickle
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch
from full_disk import full_disk
from mmengine.config import Config
from mmengine.fileio import dump, get_file_backend
from mmengine.fileio.backends import backends, prefix_to_backends
from mmengine.logging import MMLogger
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from m2h_mm.engine import install, installed, mmengine_patches
from m2h_mm.registry import MODELS
from m2h_mm.structures.checkpoint_file import write_checkpoint


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def patched_mmengine():
    """Not here: these tests change mmengine themselves."""
    assert not mmengine_patches.is_installed()


def state():
    return (
        dict(CheckpointLoader._schemes),
        CheckpointLoader.load_checkpoint,
        dict(backends),
        dict(prefix_to_backends),
        type(get_file_backend('a.txt', enable_singleton=True)),
    )


def test_changes_are_made_once_and_undone():
    plain = state()
    with installed():
        changed = state()
        assert all(one != other for one, other in zip(plain, changed, strict=True))
        install()
        with installed():
            assert state() == changed
        assert state() == changed
    assert state() == plain and not mmengine_patches.is_installed()


def test_what_an_entry_point_installs_is_undone_by_the_test_around_it():
    plain = state()
    with pytest.raises(KeyboardInterrupt), installed():
        install()
        raise KeyboardInterrupt
    assert state() == plain


def test_a_file_of_mmengine_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / 'scores.json'
    with installed():
        dump(dict(rmse=1.0), path)
        before = path.read_text()

        def full(source, target):
            raise OSError(28, 'No space left on device')

        monkeypatch.setattr(os, 'replace', full)
        with pytest.raises(OSError, match='No space left.*--resume'):
            get_file_backend(str(path)).put(b'other', str(path))
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]


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
def test_mmengine_and_mmseg_run_no_code(tmp_path, served, plain_pickle):
    model = nn.Linear(2, 2)
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(config='code', epoch=3)),
        tmp_path / 'good.pth',
    )
    write_checkpoint(tmp_path / 'good.safetensors', model.state_dict(), {})
    bomb = dict(state_dict=Bomb(tmp_path / 'exploded'))
    if plain_pickle:
        (tmp_path / 'bomb.pth').write_bytes(pickle.dumps(bomb, protocol=2))
    else:
        torch.save(bomb, tmp_path / 'bomb.pth')
    with installed():
        for place in (tmp_path, served):
            other = nn.Linear(2, 2)
            loaded = load_checkpoint(other, f'{place}/good.pth')
            assert torch.equal(other.weight, model.weight) and loaded['meta'] == dict(epoch=3)
            other = nn.Linear(2, 2)
            load_checkpoint(other, f'{place}/good.safetensors')
            assert torch.equal(other.weight, model.weight)
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
    assert 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ


def test_a_damaged_file_is_named(tmp_path):
    torch.save(dict(weight=torch.ones(1000)), tmp_path / 'whole.pth')
    (tmp_path / 'half.pth').write_bytes((tmp_path / 'whole.pth').read_bytes()[:2000])
    with installed(), pytest.raises(ValueError, match='half.pth'):
        load_checkpoint(nn.Linear(2, 2), str(tmp_path / 'half.pth'))


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='a disk that is always full, of Linux')
def test_a_log_on_a_full_disk_is_one_line_of_message(capsys):
    with installed():
        logger = MMLogger('on_a_full_disk', log_file='/dev/full', file_mode='w')
    for _ in range(3):
        logger.info('iteration')
    out, err = capsys.readouterr()
    assert err.count('could not be written: No space left') == 1 and 'Traceback' not in err
    assert out.count('iteration') == 3
    with suppress(OSError):  # of what is in its buffer
        logger.handlers[-1].close()


def test_a_config_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / 'config.py'
    with installed():
        Config(dict(a=1)).dump(path)
        with full_disk(3), pytest.raises(OSError, match='config.py .* could not be written'):
            Config(dict(a=2)).dump(str(path))
    assert Config.fromfile(path).a == 1 and os.listdir(tmp_path) == ['config.py']
    assert 'a = 3' in Config(dict(a=3)).dump()
    Config(dict(a=4)).dump(tmp_path / 'config.json')
    assert Config.fromfile(tmp_path / 'config.json').a == 4
