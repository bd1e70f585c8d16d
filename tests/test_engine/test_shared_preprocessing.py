"""The size of a data set's images reaches the model."""

import pytest
from mmengine.config import Config

from m2h_mm.engine.config import apply_ablation, load_config
from m2h_mm.engine.shared_preprocessing import share_preprocessing


def test_what_the_data_says_becomes_the_model_s():
    cfg = Config(
        dict(
            model=dict(data_preprocessor=dict(size_divisor=32)), data_preprocessor=dict(size=(4, 6))
        )
    )
    for _ in range(2):
        share_preprocessing(cfg)
        assert dict(cfg.model.data_preprocessor) == dict(size=(4, 6), size_divisor=32)
    assert share_preprocessing(Config(dict(model=dict(type='A')))).model == dict(type='A')
    assert 'model' not in share_preprocessing(Config(dict(data_preprocessor=dict(size=(4, 6)))))


def test_two_sizes_are_an_error():
    cfg = load_config('m2h_vits_nyud')
    assert cfg.model.data_preprocessor.size == (480, 640)
    # Applied too late: the model has been given the size of the other data.
    with pytest.raises(ValueError, match=r'data_preprocessor\.size = \(240, 320\)'):
        share_preprocessing(apply_ablation(cfg, 'data_rooms'))
    rooms = load_config('m2h_vits_nyud', ablations=['data_rooms'])
    assert rooms.model.data_preprocessor.size == (240, 320)
