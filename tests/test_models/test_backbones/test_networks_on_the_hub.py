"""Networks of other libraries, with weights from the hub; and without these libraries."""

import json
import sys
from importlib.util import find_spec

import pytest
import torch
from hub_stand_in import serving_hub
from safetensors.torch import save

from m2h_mm.models.backbones import HFBackbone, TimmBackbone
from m2h_mm.models.backbones.timm_library import import_timm

DINOV3 = dict(
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=12,
)
CONVNEXT = dict(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The files on it, by name."""
    constants = pytest.importorskip('huggingface_hub').constants
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    with serving_hub() as (address, files):
        # As with HF_ENDPOINT in the environment when the library is imported.
        monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
        monkeypatch.setattr(
            constants,
            'HUGGINGFACE_CO_URL_TEMPLATE',
            template.replace(constants.ENDPOINT, address),
        )
        monkeypatch.setattr(constants, 'ENDPOINT', address)
        yield files


@pytest.mark.skipif(find_spec('transformers') is None, reason='transformers is not installed')
def test_a_network_of_transformers_is_downloaded_if_it_is_asked_for(hub):
    network = HFBackbone('dinov3_vit', DINOV3).eval()
    processor = dict(image_mean=[0.5] * 3, image_std=[0.5] * 3)
    described = dict(DINOV3, model_type='dinov3_vit')
    described['attn_implementation'] = 'someone/kernels'  # which would be fetched and run
    hub['me/tiny/config.json'] = json.dumps(described).encode()
    hub['me/tiny/preprocessor_config.json'] = json.dumps(processor).encode()
    hub['me/tiny/model.safetensors'] = save(network.model.state_dict(), {'format': 'pt'})
    with pytest.raises(FileNotFoundError, match='hf download me/tiny'):
        HFBackbone('me/tiny')
    asked = dict(type='Pretrained', checkpoint='me/tiny')
    downloaded = HFBackbone('me/tiny', init_cfg=asked)
    downloaded.init_weights()
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(downloaded.eval()(image).maps, network(image).maps)
    assert downloaded.normalisation.mean == pytest.approx((127.5,) * 3)
    hub.clear()
    assert HFBackbone('me/tiny').kind == 'dinov3_vit'  # it is known by now
    with pytest.raises(ConnectionError, match='me/other'):
        HFBackbone('dinov3_vit', init_cfg=dict(asked, checkpoint='me/other')).init_weights()


@pytest.mark.skipif(find_spec('timm') is None, reason='timm is not installed')
def test_a_network_of_timm_is_downloaded_if_it_is_asked_for(hub):
    network = import_timm().create_model('convnext_atto', **CONVNEXT)
    hub['me/convnext/model.safetensors'] = save(network.state_dict())
    asked = dict(type='Pretrained', checkpoint='me/convnext')
    backbone = TimmBackbone('convnext_atto', CONVNEXT, init_cfg=asked)
    backbone.init_weights()
    image = torch.randn(1, 3, 32, 32)
    maps = network.eval().forward_intermediates(image, intermediates_only=True)
    torch.testing.assert_close(backbone.eval()(image).maps, tuple(maps))
    hub.clear()
    backbone = TimmBackbone('convnext_atto', CONVNEXT, init_cfg=dict(asked, checkpoint='me/other'))
    with pytest.raises(ConnectionError, match='cannot be had'):
        backbone.init_weights()


@pytest.mark.parametrize(
    ('cls', 'name', 'package', 'said'),
    [
        (HFBackbone, 'swin', 'transformers', 'pip install transformers'),
        (TimmBackbone, 'convnext_atto', 'timm', 'pip install --no-deps timm'),
    ],
)
def test_a_missing_package_is_named_with_the_way_to_it(cls, name, package, said, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=said):
        cls(name)


@pytest.mark.skipif(find_spec('transformers') is None, reason='transformers is not installed')
def test_a_torchvision_for_another_torch_is_named(monkeypatch):
    import transformers

    def fail(*_, **__):
        raise ModuleNotFoundError("Could not import module 'SwinBackbone'.")  # says no more

    monkeypatch.setattr(transformers.AutoBackbone, 'from_config', fail)
    with pytest.raises(ImportError, match='pip uninstall torchvision'):
        HFBackbone('swin')
