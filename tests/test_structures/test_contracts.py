"""The parts of this project are what the contracts say."""

import inspect
from itertools import zip_longest

import pytest
from torch import nn

from m2h_mm import methods
from m2h_mm.methods.m2h_mx.head import M2HMXHead
from m2h_mm.models import backbones, heads, interactions, losses, mergers, necks, weighting
from m2h_mm.structures import contracts

PACKAGES = (backbones, heads, interactions, losses, mergers, necks, weighting)
PACKAGES += tuple(getattr(methods, name) for name in methods.__all__)
ABSTRACT = (backbones.StagedBackbone, nn.Module)


def parts() -> dict[str, type]:
    """Every public class of a part that is built from a config."""
    found = {}
    for package in PACKAGES:
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.isclass(value) and issubclass(value, nn.Module) and value not in ABSTRACT:
                found[name] = value
    return {name: part for name, part in found.items() if not inspect.isabstract(part)}


def contract_of(part: type) -> type | None:
    """By where it is defined, or by its name within a method."""
    if issubclass(part, M2HMXHead):
        return None  # a part of its decoder, which alone calls it
    room = part.__module__.split('.')[2]
    by_room = dict(
        backbones=contracts.Backbone,
        heads=contracts.Head,
        interactions=contracts.Interaction,
        losses=contracts.ConsistencyLoss
        if 'context' in inspect.signature(part.forward).parameters
        else contracts.Loss,
        mergers=contracts.Merger,
        necks=contracts.Neck,
        weighting=contracts.Weighting,
    )
    by_name = dict(Decoder=contracts.Decoder, Head=contracts.Head)
    return by_room.get(room) or next(
        (found for ending, found in by_name.items() if part.__name__.endswith(ending)), None
    )


KINDS = {name: (part, contract_of(part)) for name, part in parts().items() if contract_of(part)}


@pytest.mark.parametrize('name', KINDS)
def test_every_part_is_called_as_its_contract_says(name):
    part, contract = KINDS[name]
    expected = list(inspect.signature(contract.__call__).parameters)
    given = inspect.signature(part.forward).parameters
    # A part may leave out what it has no use for, at the end: most weightings take no parameters.
    assert len(given) > 1
    for wanted, (argument, details) in zip_longest(expected[: len(given)], given.items()):
        assert argument == wanted or (wanted is None and details.default is not details.empty)


def test_every_kind_of_part_is_among_them():
    assert {contract.__name__ for _, contract in KINDS.values()} == {
        'Backbone',
        'Neck',
        'Decoder',
        'Interaction',
        'Merger',
        'Head',
        'Loss',
        'ConsistencyLoss',
        'Weighting',
    }
