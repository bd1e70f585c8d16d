"""Ablations, applied to configs that have what they change and to others."""

import pytest
from mmengine.config import Config

from m2h_mm.engine.config import (
    CONFIGS,
    ablation_names,
    apply_ablation,
    find_ablation,
    find_config,
    load_config,
)


def read(name: str) -> Config:
    return Config.fromfile(find_config(name))


def test_one_thing_is_changed_and_the_config_itself_is_not():
    base = read('m2h_tiny_rooms')
    before = base.to_dict()
    changed = apply_ablation(base, 'interaction_none').to_dict()
    assert changed['model']['decoder'].pop('interaction') == dict(type='NoInteraction')
    assert base.to_dict() == before
    before['model']['decoder'].pop('interaction')
    assert changed == before


def test_several_are_applied_in_turn_before_the_options():
    cfg = load_config(
        'm2h_tiny_rooms',
        {'model.decoder.interaction.shift_size': 1},
        ablations=['window_5', 'layers_3', 'consistency_none'],
    )
    interaction = cfg.model.decoder.interaction
    assert (interaction.window_size, interaction.num_layers, interaction.shift_size) == (5, 3, 1)
    assert cfg.model.consistency == []
    assert cfg.work_dir == 'work_dirs/m2h_tiny_rooms_window_5_layers_3_consistency_none'


def test_a_users_own_is_named_by_its_file(tmp_path):
    path = tmp_path / 'wide.py'
    path.write_text('model = dict(decoder=dict(channels=32), neck=dict(out_channels=32))\n')
    cfg = load_config('m2h_tiny_rooms', ablations=[path])
    assert cfg.model.decoder.channels == 32 and cfg.work_dir == 'work_dirs/m2h_tiny_rooms_wide'


def test_a_users_ablation_with_a_base_is_a_config(tmp_path):
    path = tmp_path / 'without_exchange.py'
    path.write_text(
        f"_base_ = '{CONFIGS}/m2h/m2h_tiny_rooms.py'\n"
        "model = dict(decoder=dict(interaction=dict(_delete_=True, type='NoInteraction')))\n"
    )
    mine, applied = load_config(path), load_config('m2h_tiny_rooms', ablations=['interaction_none'])
    assert mine.model.to_dict() == applied.model.to_dict()
    with pytest.raises(ValueError, match='without_exchange.py has a _base_, so it is a config of'):
        load_config('m2h_tiny_rooms', ablations=[path])


@pytest.mark.parametrize(
    ('config', 'ablation', 'message'),
    [
        (
            'mti_net_tiny_rooms',
            'interaction_none',
            r'on .*mti_net_tiny_rooms.py finds nothing to change: model.decoder.interaction: there '
            r"is no such key in the base config, and MTINetDecoder has no argument 'interaction'",
        ),
        ('mti_net_tiny_rooms', 'window_5', 'model.decoder.interaction'),
        ('mti_net_tiny_rooms', 'ggfm_off', 'model.decoder.merger: the config has none'),
        ('mti_net_tiny_rooms', 'consistency_none', 'model.consistency: the config has none'),
    ],
)
def test_a_config_without_what_is_changed_is_refused(config, ablation, message):
    with pytest.raises(ValueError, match=f'--ablation {ablation} .*{message}'):
        apply_ablation(read(config), ablation)


def test_what_changes_nothing_is_refused():
    once = apply_ablation(read('m2h_tiny_rooms'), 'window_5')
    with pytest.raises(ValueError, match='--ablation window_5 on .* changes nothing'):
        apply_ablation(once, 'window_5')
    with pytest.raises(ValueError, match="NoInteraction has no argument 'window_size'"):
        apply_ablation(apply_ablation(once, 'interaction_none'), 'window_9')


def test_names_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('window_5', 'configs/ablations/window_5.py'):
        assert find_ablation(name) == CONFIGS / 'ablations' / 'window_5.py'
    assert 'window_5' in ablation_names()
    with pytest.raises(FileNotFoundError, match="Did you mean 'window_5'"):
        find_ablation('windows_5')
