"""A snapshot of a step is looked at before it is used."""

import copy

import pytest
import torch

from m2h_mm.engine.snapshot import random_state, require_snapshot


@pytest.fixture
def snapshot():
    sample = dict(metainfo=dict(frame_id='a'), fields=dict(gt_depth=dict(data=torch.ones(1))))
    step = dict(
        batch=dict(inputs=[torch.ones(3, 2, 2)], data_samples=[sample]),
        random_state=random_state(),
        weighting={},
    )
    losses = [dict(loss=float('nan'))]
    return dict(iteration=3, steps=[step], losses=losses, state_dict=dict(weight=torch.ones(1)))


@pytest.mark.parametrize(
    ('keys', 'value'),
    [
        (['iteration'], 'x'),
        (['steps'], []),
        (['steps'], 3),
        (['losses'], []),
        (['losses', 0], dict(loss='high')),
        (['state_dict'], dict(weight=3)),
        (['steps', 0], [1]),
        (['steps', 0, 'batch'], 3),
        (['steps', 0, 'batch', 'inputs'], []),
        (['steps', 0, 'batch', 'data_samples', 0], dict(metainfo=3, fields={})),
        (['steps', 0, 'batch', 'data_samples', 0, 'fields', 'gt_depth'], dict(data=3)),
        (['steps', 0, 'random_state'], dict(cpu=torch.zeros(3, dtype=torch.uint8))),
        (['steps', 0, 'weighting'], dict(w=1.0)),
    ],
)
def test_another_form_is_refused(snapshot, keys, value):
    require_snapshot(snapshot)
    changed = copy.deepcopy(snapshot)
    place = changed
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(ValueError, match='The snapshot is damaged'):
        require_snapshot(changed)


@pytest.mark.parametrize('content', [[1], dict(state_dict={}), torch.ones(1)])
def test_another_file_is_named(content):
    with pytest.raises(ValueError, match='Expected a snapshot of a training step'):
        require_snapshot(content)
