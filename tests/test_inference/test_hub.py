"""Models go to a folder and to the hub, and come back the same."""

import sys

import numpy as np
import pytest
import yaml
from hub_stand_in import serving_hub

from m2h_mm.inference import M2HInferencer
from m2h_mm.inference.publishing import read_published

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8)


def maps(inferencer):
    return inferencer(IMAGE)['predictions'][0]


@pytest.fixture(scope='module')
def model(tiny):
    return M2HInferencer(tiny[1], device='cpu', show_progress=False)


def same(one, other):
    return list(one) == list(other) and all(np.array_equal(other[task], one[task]) for task in one)


def test_a_folder_and_back(model, tmp_path):
    results = dict(metrics={'depth/rmse': 0.5}, constant_predictor={'depth/rmse': 1.0})
    folder = tmp_path / 'tiny'
    model.save_pretrained(folder, name='Tiny', licence='MIT', results=results)
    again = M2HInferencer.from_pretrained(folder, device='cpu', show_progress=False)
    assert same(maps(model), maps(again)) and again.classes == model.classes
    card = (folder / 'README.md').read_text()
    head = yaml.safe_load(card.split('---')[1])
    assert head['license'] == 'mit' and head['library_name'] == 'm2h_mm'
    assert head['model-index'][0]['results'][0]['metrics'][0]['value'] == 0.5
    assert '# Tiny' in card and '| **depth/rmse** (lower is better) | 0.5 | 1 |' in card
    with pytest.raises(FileExistsError, match='is there already'):
        model.save_pretrained(folder)
    # What was said of it is said again.
    again.save_pretrained(tmp_path / 'copy', half=True, name='Copy')
    published = read_published(tmp_path / 'copy' / 'model.safetensors')
    assert (published['name'], published['licence']) == ('Copy', 'MIT')
    with pytest.raises(ValueError, match='is read by this command'):
        again.save_pretrained(folder, overwrite=True)


def test_the_hub_and_back(model, tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip('huggingface_hub')
    constants = huggingface_hub.constants
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, '{address}')
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    with serving_hub() as (address, files):
        # As with HF_ENDPOINT in the environment when the library is imported.
        template = template.replace('{address}', address)
        monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
        monkeypatch.setattr(constants, 'ENDPOINT', address)
        assert model.push_to_hub('me/tiny', token='hf_x').endswith('me/tiny')
        assert sorted(files) == ['me/tiny/README.md', 'me/tiny/model.safetensors']
        assert b"from_pretrained('me/tiny')" in files['me/tiny/README.md']
        again = M2HInferencer.from_pretrained('me/tiny', device='cpu', show_progress=False)
        assert same(maps(model), maps(again))
        with pytest.raises(ConnectionError, match='me/other: the hub .* does not give or take it'):
            M2HInferencer.from_pretrained('me/other')


def test_what_is_no_model_is_named(model, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match='has no model.safetensors'):
        M2HInferencer.from_pretrained(tmp_path)
    for name in ('lost', '../a/b', tmp_path / 'lost'):
        with pytest.raises(FileNotFoundError, match="no folder .*, and it is no 'user/name'"):
            M2HInferencer.from_pretrained(name)
    with pytest.raises(ValueError, match="Expected 'user/name'"):
        model.push_to_hub('tiny')
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(ImportError, match=r'pip install m2h_mm\[hub\]'):
        M2HInferencer.from_pretrained('me/tiny')
