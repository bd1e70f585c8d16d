"""Weights are found whatever wrapped them."""

import pytest
import torch

from m2h_mm.structures import weights
from m2h_mm.structures.weights import find_weights, require_dense

STATE = {'backbone.norm.weight': torch.ones(2), 'heads.bias': torch.zeros(1)}
OTHER = {name: value + 1 for name, value in STATE.items()}


def behind(prefix, state=STATE):
    return {prefix + name: value for name, value in state.items()}


def find(content):
    return find_weights(content, STATE.__contains__, 'w.pth', least=2)


@pytest.mark.parametrize(
    'prefix',
    [
        '',
        'module.',
        '_orig_mod.',
        'model.',
        'module._orig_mod.',
        'ema_model.module.',
        'a.b.',
        'net.',
    ],
)
@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: dict(state_dict=state, epoch=3, optimizer=dict(state={0: dict()})),
        lambda state: dict(model=state, ema=None),
        lambda state: dict(model=dict(model_state_dict=state), net=3),
        lambda state: dict(whatever=dict(state)),
    ],
)
def test_any_wrapper_and_prefix_is_taken_off(prefix, wrap):
    found = find(wrap({**behind(prefix), 'loss.scale': torch.zeros(1)}))
    assert {name: found.state[name] for name in STATE} == STATE
    assert found.prefix == prefix.replace('_orig_mod.', '')
    assert found.others == (('loss.scale',) if found.prefix else ())


def test_what_wrappers_of_torch_put_into_names_is_left_out():
    state = {
        'backbone._orig_mod.norm._fsdp_wrapped_module.weight': torch.ones(2),
        'heads._checkpoint_wrapped_module.bias': torch.zeros(1),
    }
    assert find(state).state.keys() == STATE.keys()


@pytest.mark.parametrize(
    ('right', 'wrong'),
    [
        ('teacher.backbone.', 'student.backbone.'),
        ('model.', 'ema_model.'),
        ('', 'ema.'),
        ('generator.', 'student.'),
    ],
)
def test_of_weights_that_are_there_twice_the_likelier_are_taken_and_it_is_said(
    right, wrong, monkeypatch
):
    said = []
    monkeypatch.setattr(weights, 'print_log', lambda text, logger: said.append(text))
    found = find({'model': {**behind(wrong, OTHER), **behind(right)}})
    assert found.state == {**STATE, **(behind(wrong, OTHER) if not right else {})}
    found.report('w.pth')
    assert f"not those below 'model' with names that begin with '{wrong}'" in said[0]


def test_two_of_which_neither_is_known_to_be_right_are_refused():
    with pytest.raises(ValueError, match=r"w.pth holds .*more than once: .*'left.'.*'right.'"):
        find({**behind('left.'), **behind('right.')})


def test_nothing_is_said_of_our_own(monkeypatch):
    said = []
    monkeypatch.setattr(weights, 'print_log', lambda text, logger: said.append(text))
    content = dict(state_dict=STATE, ema_state_dict=behind('module.', OTHER))
    assert find(content).state == STATE
    find(content).report('w.pth')
    assert not said


def test_names_that_belong_by_chance_are_no_prefix():
    state = {'decoder.heads.bias': torch.ones(1), 'decoder.x': torch.ones(1)}
    assert find(dict(state_dict=state)).state == state


@pytest.mark.parametrize(
    ('content', 'found'),
    [
        ([1], 'found one list'),
        (torch.ones(1), 'found one Tensor'),
        (3, 'found one int'),
        ({}, r'found a dict of \[\]'),
        (dict(state_dict=[1], epoch=3), r"found a dict of \['state_dict', 'epoch'\]"),
        ({0: torch.ones(1)}, r"found a dict of \['0'\]"),
    ],
)
def test_no_weights(content, found):
    with pytest.raises(ValueError, match=f'w.pth holds no weights: .*{found}'):
        find(content)


@pytest.mark.parametrize(
    'tensor',
    [torch.ones(2).to_sparse(), torch.ones(2, device='meta')],
)
def test_tensors_without_plain_values_are_refused(tensor):
    require_dense(STATE, 'w.pth')
    with pytest.raises(ValueError, match="w.pth: 'heads.bias' is no plain tensor"):
        require_dense({**STATE, 'heads.bias': tensor}, 'w.pth')
