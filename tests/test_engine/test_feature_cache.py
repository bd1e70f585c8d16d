"""The cache of a frozen backbone's features: same numbers, less work, never a wrong entry."""

import io
import zlib

import pytest
import torch
from torch import nn

from m2h_mm.engine import feature_cache
from m2h_mm.engine.feature_cache import FeatureCache
from m2h_mm.structures import Features
from m2h_mm.structures.features import map_tensors

FROZEN = {'model.freeze_backbone': True}


class Backbone(nn.Module):
    """Two maps, laid out as a transformer's, and a class token; counts the images that it sees."""

    def __init__(self, with_tokens=True):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 7, stride=7)
        self.with_tokens = with_tokens
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        patches = self.conv(images)
        grid, patches = patches.shape[2:], patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([patches.mean(1, keepdim=True), patches], dim=1)
        outputs = tokens, 2 * tokens
        maps = tuple(output[:, 1:].transpose(1, 2).unflatten(2, grid) for output in outputs)
        return (
            Features(maps, tuple(output[:, 0] for output in outputs))
            if self.with_tokens
            else list(maps)
        )


@pytest.fixture
def make_cache(tmp_path):
    """``make_cache(backbone, ...)``: a cache in the test's folder, of a backbone with the same
    weights each time.
    """

    def make(backbone=None, description='', dtype=None, max_bytes=2**30):
        torch.manual_seed(0)
        return FeatureCache(
            Backbone() if backbone is None else backbone,
            description,
            tmp_path / 'cache',
            dtype,
            max_bytes,
        )

    return make


@pytest.fixture
def images():
    return torch.randn(3, 3, 14, 21, generator=torch.Generator().manual_seed(1))


def assert_equal(first, second, **tolerances):
    for one, other in zip(
        (*first.maps, *first.cls_tokens), (*second.maps, *second.cls_tokens), strict=True
    ):
        torch.testing.assert_close(one, other, **(tolerances or dict(rtol=0, atol=0)))


@pytest.mark.parametrize('batch', [1, 3])
def test_what_is_read_is_what_was_computed(make_cache, images, batch):
    images, plain = images[:batch], Backbone()
    first, second = make_cache(), make_cache()
    plain.load_state_dict(first.backbone.state_dict())
    expected = plain(images)
    assert_equal(first.forward(images), expected)
    found = second.forward(images)
    assert_equal(found, expected)
    assert second.backbone.seen == 0 and (second.images, second.found) == (batch, batch)
    assert not found.maps[0].requires_grad
    # Convolutions choose their kernels by the layout.
    for kind in ('maps', 'cls_tokens'):
        assert [t.stride() for t in getattr(found, kind)] == [
            t.stride() for t in getattr(expected, kind)
        ]


def test_batches_of_another_size_than_they_were_written_in(make_cache, images):
    one_by_one, together = make_cache(), make_cache()
    expected = [one_by_one.forward(image[None]) for image in images]
    found = together.forward(images)
    assert together.found == 3
    assert torch.equal(found.maps[1], torch.cat([features.maps[1] for features in expected]))


def test_only_what_is_missing_is_computed(make_cache, images):
    cache = make_cache()
    expected = cache.forward(images[[0, 2]])
    assert cache.backbone.seen == 2
    mixed = cache.forward(images)
    assert cache.backbone.seen == 3 and (cache.images, cache.found) == (5, 2)
    assert all(
        torch.equal(map[[0, 2]], other)
        for map, other in zip(mixed.maps, expected.maps, strict=True)
    )
    torch.testing.assert_close(mixed.maps[0], cache.backbone.conv(images))


def test_a_backbone_that_yields_a_list(make_cache, images):
    backbone = Backbone(with_tokens=False)
    first, second = make_cache(backbone), make_cache(backbone)
    expected, found = first.forward(images), second.forward(images)
    assert second.found == 3 and found.cls_tokens is None
    assert len(found.maps) == 2 and torch.equal(found.maps[1], expected.maps[1])


@pytest.mark.parametrize(
    'change',
    [
        lambda content: content.update(steps=[10**15] * 4),
        lambda content: content.update(steps=['x'] * 4),
        lambda content: content.update(features=[torch.ones(1)]),
        lambda content: content['features'].update(maps=(torch.ones(1, 1, 1), torch.ones(1, 1, 1))),
        lambda content: content['features'].update(more=None),
        lambda content: content['features'].update(maps=3),
        lambda content: content.clear(),
    ],
)
def test_a_file_that_something_else_wrote_is_computed_anew(make_cache, images, change):
    first = make_cache()
    expected = first.forward(images)
    path = next(first.folder.rglob('*.pt'))
    content = torch.load(io.BytesIO(path.read_bytes()[4:]), weights_only=True)
    change(content)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(zlib.crc32(buffer.getvalue()).to_bytes(4, 'little') + buffer.getvalue())
    second, third = make_cache(), make_cache()
    assert_equal(second.forward(images), expected, rtol=1e-6, atol=1e-6)
    assert second.found < 3 and third.forward(images) and third.found == 3


class FindsTasks(Backbone):
    """Everything that Features can hold, in all forms."""

    def forward(self, images):
        found = super().forward(images)
        return Features(
            maps=found.maps,
            cls_tokens=found.cls_tokens,
            register_tokens=tuple(map.flatten(2).transpose(1, 2)[:, :2] for map in found.maps),
            task_maps=dict(depth=found.maps[0] + 1, semseg=(found.maps[0], found.maps[1] * 3)),
            aux=[dict(depth=found.maps[0][:, :1]), dict()],
            source=Features(maps=(images,)),
        )


def flatten(features):
    tensors = []
    map_tensors(tensors.append, features.as_dict())
    return tensors


def test_everything_in_features_is_kept(make_cache, images):
    backbone = FindsTasks()
    expected = backbone(images)
    first, second = make_cache(backbone), make_cache(backbone)
    mixed = make_cache(backbone)
    first.forward(images[:2])
    for found in (second.forward(images), mixed.forward(images)):
        assert isinstance(found.task_maps['semseg'], tuple) and found.aux[1] == {}
        assert found.source.source is None and found.source.cls_tokens is None
        pairs = list(zip(flatten(found), flatten(expected), strict=True))
        assert len(pairs) == 2 + 2 + 2 + 3 + 1 + 1
        for one, other in pairs:
            torch.testing.assert_close(one, other)
    assert (second.found, mixed.found) == (2, 3)


def test_files_of_another_format_are_computed_anew(make_cache, images, monkeypatch):
    monkeypatch.setattr(feature_cache, 'FORMAT', 1)
    old = make_cache()
    old.forward(images)
    monkeypatch.undo()
    new, again = make_cache(), make_cache()
    assert_equal(new.forward(images), again.forward(images))
    assert (new.found, again.found) == (0, 3)


@pytest.mark.parametrize(
    'change', ['image', 'size', 'weight', 'buffer', 'config', 'dtype', 'autocast']
)
def test_whatever_changes_the_features_is_computed(make_cache, images, change):
    make_cache().forward(images)
    backbone = make_cache().backbone
    if change == 'image':
        images[1, 0, 0, 0] += 1e-6
    elif change == 'size':
        images = images.reshape(3, 3, 21, 14)
    elif change == 'weight':
        backbone.conv.bias.data[0] += 1e-6
    elif change == 'buffer':
        backbone.register_buffer('mean', torch.zeros(1))
    cache = make_cache(
        backbone,
        description='other' if change == 'config' else '',
        dtype=torch.float16 if change == 'dtype' else None,
    )
    with torch.autocast('cpu', torch.bfloat16, enabled=change == 'autocast'):
        cache.forward(images)
    assert cache.images - cache.found == (1 if change == 'image' else 3)


@pytest.mark.parametrize('damage', ['cut', 'emptied', 'flipped'])
def test_a_damaged_file_is_computed_anew(make_cache, images, damage):
    first = make_cache()
    expected = first.forward(images)
    path = next(first.folder.rglob('*.pt'))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(dict(cut=content[:-9], emptied=b'', flipped=content)[damage])
    second, third = make_cache(), make_cache()
    assert_equal(second.forward(images), expected, rtol=1e-6, atol=1e-6)
    assert_equal(third.forward(images), expected, rtol=1e-6, atol=1e-6)
    assert (second.found, third.found) == (2, 3)


def test_half_precision_takes_half_and_rounds_from_the_start(make_cache, images):
    images = images.repeat(1, 1, 10, 10)
    whole, half = make_cache(), make_cache(dtype=torch.float16)
    exact = whole.forward(images)
    size = whole.bytes
    assert size < 1.2 * sum(4 * tensor.numel() for tensor in (*exact.maps, *exact.cls_tokens))
    computed, found = half.forward(images), make_cache(dtype=torch.float16).forward(images)
    assert_equal(computed, found)
    assert computed.maps[0].dtype == torch.float32
    assert torch.equal(computed.maps[0], exact.maps[0].half().float())
    assert half.bytes - size < 0.7 * size


def test_a_full_cache_is_read_and_not_written(make_cache, images):
    one = make_cache()
    one.forward(images[:1])
    full = make_cache(max_bytes=one.bytes + 10)
    for _ in range(2):
        full.forward(images)
    assert full.found == 2 and full.full
    assert len(list(full.folder.rglob('*.pt'))) == 1


def test_a_disk_that_refuses_does_not_stop_the_training(make_cache, images):
    cache = make_cache()
    cache.folder.write_bytes(b'a file where the folder should be')
    assert torch.isfinite(cache.forward(images).maps[0]).all() and cache.full


def cached(tmp_path, **more):
    return {
        **FROZEN,
        'default_hooks.features': dict(
            type='FeatureCacheHook', folder=str(tmp_path / 'cache'), **more
        ),
    }


def test_losses_are_those_of_a_training_without_a_cache(train, tmp_path):
    """The augmentation of both runs is the same, as their seed is."""
    plain, filling, reading = train(FROZEN), train(cached(tmp_path)), train(cached(tmp_path))
    assert plain.losses == filling.losses == reading.losses
    states = [run.model.state_dict() for run in (plain, reading)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert 'forward' not in vars(reading.model.backbone)


def test_another_run_of_the_same_draws_never_runs_the_backbone(train, toy_runner, tmp_path):
    weights = tmp_path / 'backbone.pth'
    torch.save(toy_runner().model.backbone.state_dict(), weights)
    options = {
        **cached(tmp_path),
        'model.backbone.init_cfg': dict(_delete_=True, type='Pretrained', checkpoint=str(weights)),
    }
    train(options)
    runner = toy_runner(
        {**options, 'model.decoder.interaction': dict(_delete_=True, type='NoInteraction')}
    )
    for block in runner.model.backbone.blocks:
        block.register_forward_pre_hook(lambda *_: pytest.fail('the backbone ran'))
    runner.train()


def test_a_test_reads_what_the_last_one_wrote(toy_runner, tmp_path):
    first, second = toy_runner(cached(tmp_path)), toy_runner(cached(tmp_path))
    second.model.load_state_dict(first.model.state_dict())
    metrics = first.test()
    for block in second.model.backbone.blocks:
        block.register_forward_pre_hook(lambda *_: pytest.fail('the backbone ran'))
    assert second.test() == metrics


def test_a_backbone_that_is_trained_is_refused(train, tmp_path):
    with pytest.raises(ValueError, match='model.backbone is trained.*model.freeze_backbone=True'):
        train({**cached(tmp_path), 'model.freeze_backbone': False})


def test_batch_norms_that_drift_are_refused(toy_runner, tmp_path):
    runner = toy_runner({**cached(tmp_path), 'model.freeze_backbone': False})
    runner.model.backbone.requires_grad_(False)
    with pytest.raises(ValueError, match='not in eval mode'):
        runner.train()


def test_weights_that_change_meanwhile_are_refused(toy_runner, tmp_path):
    runner = toy_runner({**cached(tmp_path), 'train_cfg.max_iters': 1})
    forward = runner.model.loss

    def loss(*args):
        runner.model.backbone.cls_token.data += 1
        return forward(*args)

    runner.model.loss = loss
    with pytest.raises(ValueError, match=r'weights of model.backbone changed.*Delete .*cache'):
        runner.train()


def test_a_dtype_that_is_none_is_refused(train, tmp_path):
    with pytest.raises(ValueError, match="FeatureCacheHook.dtype: expected one of .*, got 'int8'"):
        train(cached(tmp_path, dtype='int8'))
