"""What is published of a model, and what is believed of what a file says."""

import math

import pytest
import torch

from m2h_mm.engine.config import load_config
from m2h_mm.engine.model_description import describe_model
from m2h_mm.inference import load_model
from m2h_mm.inference.publishing import PUBLISHED_KEY, publish, read_published, read_results
from m2h_mm.registry import MODELS
from m2h_mm.structures.checkpoint_file import read_checkpoint, write_checkpoint


def test_half_the_size_and_nothing_is_lost_that_float16_cannot_hold(tiny, tmp_path):
    model, description = load_model(tiny[1])
    own = model.state_dict()
    large, small = 'backbone.patch_embed.proj.weight', 'heads.depth.final.weight'
    with torch.no_grad():
        own[large].mul_(1e9)
    publish(tmp_path / 'a.safetensors', model, description, {}, half=True)
    stored = read_checkpoint(tmp_path / 'a.safetensors')['state_dict']
    assert stored[large].dtype == torch.float32 and stored[small].dtype == torch.float16
    assert all(value.dtype == own[name].dtype for name, value in stored.items() if value.ndim < 2)
    loaded, _ = load_model(tmp_path / 'a.safetensors')
    for name, value in loaded.state_dict().items():
        assert value.dtype == own[name].dtype
        # Half of the last of 11 bits, and of the smallest number.
        torch.testing.assert_close(value, own[name], rtol=2**-11, atol=2**-25)


def test_adapters_are_put_into_the_weights(tiny, tmp_path):
    adapted = {'model.adapters': dict(type='LoRA', rank=2), 'model.freeze_backbone': False}
    cfg = load_config(tiny[0], adapted)
    model = MODELS.build(cfg.model).eval()
    for parameter in model.adapters.parameters():
        torch.nn.init.normal_(parameter)
    image = torch.rand(1, 3, 28, 28)
    with torch.no_grad():
        expected = model(image)['depth']
        publish(tmp_path / 'a.safetensors', model, describe_model(cfg), {})
        loaded, description = load_model(tmp_path / 'a.safetensors')
        torch.testing.assert_close(loaded(image)['depth'], expected, rtol=1e-4, atol=1e-4)
    assert 'adapters' not in description.model
    assert not any('adapters' in name for name in loaded.state_dict())


@pytest.mark.parametrize(
    ('stored', 'read'),
    [
        (['name'], {}),
        (dict(name=3, seed='0', iterations=True, results=[]), {}),
        (dict(name='a\nb' + 'x' * 1000, more=1), dict(name='a b' + 'x' * 497)),
        (dict(results=dict(metrics=dict(a='1', b=math.nan, c=1.5))), dict(c=1.5)),
    ],
)
def test_a_stranger_may_say_anything(tmp_path, stored, read):
    path = tmp_path / 'a.safetensors'
    write_checkpoint(path, dict(a=torch.ones(1)), {PUBLISHED_KEY: stored})
    published = read_published(path)
    assert published.get('results', dict(metrics=published))['metrics'] == read


def test_results_are_those_of_a_test(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no results .*a\.json'):
        read_results(tmp_path / 'a.json', '')
    for text in ('[', '[]', '{"metrics": 3, "checkpoint_sha256": ""}', '{"metrics": {}}'):
        (tmp_path / 'a.json').write_text(text)
        with pytest.raises(ValueError, match=r'a\.json is no report of m2h-mm test'):
            read_results(tmp_path / 'a.json', '')
