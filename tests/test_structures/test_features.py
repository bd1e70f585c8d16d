"""Features: from any backbone's output, as plain containers and back."""

import pytest
import torch

from m2h_mm.structures import Features
from m2h_mm.structures.features import map_tensors


def test_what_a_backbone_returns_becomes_features():
    one, two = torch.rand(1, 2, 3, 4), torch.rand(1, 5, 2, 2)
    given = Features(maps=(one,))
    assert Features.of(given) is given
    assert Features.of(one).maps == (one,)
    for several in ([one, two], (one, two)):
        assert Features.of(several).maps == (one, two)


def test_plain_containers_and_back():
    inner = Features(maps=(torch.rand(2),), cls_tokens=(torch.rand(2),))
    outer = Features(
        maps=(torch.rand(2), torch.rand(2)),
        task_maps=dict(depth=torch.rand(2), edge=(torch.rand(2),)),
        aux=[dict(depth=torch.rand(2)), {}],
        source=inner,
    )
    content = outer.as_dict()
    assert type(content['source']) is dict
    doubled = Features.from_dict(map_tensors(lambda tensor: 2 * tensor, content))
    assert torch.equal(doubled.source.cls_tokens[0], 2 * inner.cls_tokens[0])
    assert torch.equal(doubled.task_maps['edge'][0], 2 * outer.task_maps['edge'][0])
    assert torch.equal(doubled.aux[0]['depth'], 2 * outer.aux[0]['depth'])
    assert doubled.aux[1] == {} and doubled.register_tokens is doubled.source.task_maps is None


def test_several_containers_at_once():
    first, second = dict(a=[torch.ones(1), None]), dict(a=[torch.ones(1) * 3, None])
    assert map_tensors(torch.add, first, second) == dict(a=[torch.tensor([4.0]), None])
    with pytest.raises(ValueError, match='shorter'):
        map_tensors(torch.add, first, dict(a=[torch.ones(1)]))


def test_nothing_but_tensors_is_taken():
    with pytest.raises(TypeError, match=r"dicts, lists and tuples of them, got 'depth'"):
        map_tensors(torch.clone, dict(name='depth'))
