"""DINOv2: loading weights through init_cfg, and what is said when that fails."""

import logging
import socket
import threading
import urllib.error

import pytest
import torch
from torch.testing import assert_close

from m2h_mm.models.backbones import DINOv2
from m2h_mm.models.backbones.dinov2_checkpoint import PRETRAINED_URLS, resolve_checkpoint

KEY = r'model\.backbone\.init_cfg\.checkpoint'
URL = 'https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth'


def small_model(checkpoint=None, embed_dims=24, depth=2, ffn='mlp', **kwargs) -> DINOv2:
    arch = dict(embed_dims=embed_dims, depth=depth, num_heads=2, ffn=ffn)
    init_cfg = None if checkpoint is None else dict(type='Pretrained', checkpoint=str(checkpoint))
    return DINOv2(arch, out_indices=(0, depth - 1), **{'img_size': 28, **kwargs}, init_cfg=init_cfg)


def randomised(model: DINOv2) -> dict[str, torch.Tensor]:
    return {key: torch.rand_like(tensor) for key, tensor in model.state_dict().items()}


def assert_loaded(model: DINOv2, state: dict[str, torch.Tensor]) -> None:
    for key, tensor in model.state_dict().items():
        assert_close(tensor, state[key], rtol=0, atol=0)


@pytest.fixture
def weights(tmp_path):
    """Path and content of a file in the official form: a bare state dict."""
    state, path = randomised(small_model()), tmp_path / 'dinov2.pth'
    torch.save(state, path)
    return path, state


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty torch.hub folder."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub' / 'checkpoints'


def test_official_file_round_trip(weights, messages):
    path, state = weights
    model = small_model(path, frozen_stages=2)
    model.init_weights()
    assert_loaded(model, state)
    assert model.is_init
    assert not any(p.requires_grad for p in model.parameters())
    assert messages(logging.WARNING) == []


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: {
            'state_dict': {'backbone.' + k: v for k, v in state.items()}
            | {'neck.weight': torch.zeros(1)}
        },
        lambda state: {'teacher': {'backbone.' + k: v for k, v in state.items()}, 'iteration': 3},
        lambda state: {
            'model': {'student.backbone.' + k: v + 1 for k, v in state.items()}
            | {'teacher.backbone.' + k: v for k, v in state.items()},
            'iteration': 3,
        },
        lambda state: {'pretrained.' + k: v for k, v in state.items()},
        lambda state: {
            k.replace('blocks.0.', 'blocks.0.0.').replace('blocks.1.', 'blocks.1.1.'): v
            for k, v in state.items()
        },
    ],
    ids=[
        'multi-task checkpoint',
        'DINOv2 teacher',
        'DINOv2 training',
        'Depth-Anything',
        'chunked blocks',
    ],
)
def test_other_forms_of_the_same_weights(weights, wrap):
    path, state = weights
    torch.save(wrap(state), path)
    model = small_model(path)
    model.init_weights()
    assert_loaded(model, state)


def test_home_folder_is_expanded(weights, monkeypatch):
    path, state = weights
    monkeypatch.setenv('HOME', str(path.parent))
    model = small_model(f'~/{path.name}')
    model.init_weights()
    assert_loaded(model, state)


def test_mask_token_and_final_norm_may_be_absent_where_nothing_needs_them(weights, messages):
    path, state = weights
    partial = {
        key: value
        for key, value in state.items()
        if key != 'mask_token' and not key.startswith('norm.')
    }
    torch.save({**partial, 'head.weight': torch.zeros(3)}, path)
    model = small_model(path)
    model.init_weights()
    assert_loaded(
        model.blocks, {key.removeprefix('blocks.'): value for key, value in state.items()}
    )
    warnings = messages(logging.WARNING)
    assert any('missing' in m and 'mask_token' in m and 'norm.weight' in m for m in warnings)
    assert any('not used' in m and 'head.weight' in m for m in warnings)
    with pytest.raises(ValueError, match=rf'{KEY}: .*lacks parameters .*norm\.weight'):
        small_model(path, final_norm=True).init_weights()


def test_a_lacking_parameter_is_refused(weights):
    path, state = weights
    del state['blocks.1.attn.qkv.bias']
    torch.save(state, path)
    with pytest.raises(
        ValueError, match=rf'{KEY}: .*lacks parameters .*blocks\.1\.attn\.qkv\.bias'
    ):
        small_model(path).init_weights()


@pytest.mark.parametrize(
    'config, differs, key',
    [
        (dict(embed_dims=48), r'file: .*embed_dims 24.*\n.*config: embed_dims 48', 'arch'),
        (dict(depth=3), r'file: .*depth 2.*\n.*config: .*depth 3', 'arch'),
        (dict(ffn='swiglu'), r'file: .*ffn mlp.*\n.*config: .*ffn swiglu', 'arch'),
        (dict(num_registers=4), r'file: .*registers 0.*\n.*config: .*registers 4', 'num_registers'),
        (
            dict(in_channels=4),
            r'file: .*image channels 3.*\n.*config: .*image channels 4',
            'in_channels',
        ),
        (
            dict(img_size=56),
            r'file: .*native size \(px\) 28.*\n.*config: .*native size \(px\) 56',
            'img_size',
        ),
    ],
)
def test_another_architecture_names_both_sides(weights, config, differs, key):
    with pytest.raises(
        ValueError,
        match=rf'(?s){KEY}: '
        rf'.*dinov2\.pth.*{differs}.*model\.backbone\.{key}',
    ):
        small_model(weights[0], **config).init_weights()


def test_another_mlp_ratio_is_refused(weights):
    model = DINOv2(
        dict(embed_dims=24, depth=2, num_heads=2, mlp_ratio=2), (0, 1), img_size=28,
        init_cfg=dict(type='Pretrained', checkpoint=str(weights[0])))  # fmt: skip
    with pytest.raises(
        ValueError,
        match=r'blocks\.0\.mlp\.fc1\.weight \(96, 24\) \(expected \(48, '
        r'24\)\)',
    ):
        model.init_weights()


def test_a_missing_file_says_where_to_put_it(tmp_path):
    path = tmp_path / 'nowhere.pth'
    with pytest.raises(
        FileNotFoundError,
        match=rf'(?s){KEY}.*{path}.*--cfg-options '
        rf"{KEY}=.*'official'.*URL",
    ):
        small_model(path).init_weights()


@pytest.mark.parametrize('content', [b'', b'<html>not found</html>'])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / 'broken.pth'
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf'{KEY}: {path} is no checkpoint, it is (empty|a web page)'
    ):
        small_model(path).init_weights()


@pytest.mark.parametrize(
    ('content', 'named'),
    [
        ({'conv1.weight': torch.zeros(1)}, r'is not a vision transformer: .*found conv1\.weight'),
        (torch.zeros(3), 'holds no weights: .*found one Tensor'),
        ({'embeddings.cls_token': torch.zeros(1)}, "transformers: take the authors' file"),
        (
            dict(cls_token=torch.zeros(1), pos_embed=torch.zeros(1)),
            'is not a vision transformer',
        ),
    ],
)
def test_another_model_is_named(tmp_path, content, named):
    path = tmp_path / 'resnet.pth'
    torch.save(content, path)
    with pytest.raises(ValueError, match=f'{KEY}: {path} {named}' if named[0] != 't' else named):
        small_model(path).init_weights()


class Payload:
    def __reduce__(self):
        return (print, ('executed',))


def test_no_code_in_a_file_is_executed(tmp_path, capsys):
    path = tmp_path / 'evil.pth'
    torch.save({'cls_token': Payload()}, path)
    with pytest.raises(ValueError, match='was not loaded.*could run code'):
        small_model(path).init_weights()
    assert 'executed' not in capsys.readouterr().out


def test_url_is_downloaded_once(weights, hub):
    path, state = weights
    for _ in range(2):
        model = small_model(path.as_uri())
        model.init_weights()
        assert_loaded(model, state)
        path.unlink(missing_ok=True)
    assert (hub / 'dinov2.pth').is_file()


@pytest.mark.parametrize(
    'failure',
    [
        urllib.error.URLError(socket.gaierror(-3, 'Temporary failure in name resolution')),
        urllib.error.HTTPError(URL, 404, 'Not Found', None, None),
        TimeoutError('timed out'),
    ],
)
def test_no_network_says_where_to_put_the_file(hub, monkeypatch, failure):
    seen = []

    def refuse(request):
        seen.append((request.full_url, socket.getdefaulttimeout()))
        raise failure

    monkeypatch.setattr(torch.hub, 'urlopen', refuse)
    with torch.device('meta'):
        model = DINOv2('small', init_cfg=dict(type='Pretrained', checkpoint='official'))
    before = socket.getdefaulttimeout()
    place = hub / 'dinov2_vits14_pretrain.pth'
    with pytest.raises(ConnectionError, match=rf'(?s){KEY}.*{URL}.*{place}.*--cfg-options {KEY}='):
        model.init_weights()
    assert seen == [(URL, 15.0)]
    assert socket.getdefaulttimeout() == before


def test_an_unresponsive_host_is_given_up(hub, monkeypatch):
    monkeypatch.setattr('m2h_mm.models.backbones.backbone_checkpoint.DOWNLOAD_TIMEOUT_S', 0.2)
    monkeypatch.setenv('no_proxy', '*')
    with socket.create_server(('127.0.0.1', 0)) as silent:
        # Ends the connection, and with it the test, should the backbone wait on.
        reset = threading.Timer(60, silent.close)
        reset.start()
        with pytest.raises(ConnectionError, match='timed out'):
            small_model(f'http://127.0.0.1:{silent.getsockname()[1]}/dinov2.pth').init_weights()
        reset.cancel()


def test_official_follows_arch_and_registers():
    assert resolve_checkpoint('official', 'small', 0) == URL
    assert resolve_checkpoint('official', 'large', 4).endswith(
        'dinov2_vitl14/dinov2_vitl14_reg4_pretrain.pth'
    )
    assert resolve_checkpoint('some/file.pth', 'tiny', 0) == 'some/file.pth'
    assert len(set(PRETRAINED_URLS.values())) == 8
    for arch, registers in [('tiny', 0), ('small', 3), (dict(embed_dims=24), 0)]:
        with pytest.raises(ValueError, match=rf"{KEY}='official': there are no official weights"):
            resolve_checkpoint('official', arch, registers)


def test_frozen_random_weights_are_announced(messages):
    small_model(frozen_stages=2).init_weights()
    assert any('random weights' in m and 'load_from' in m for m in messages(logging.WARNING))
