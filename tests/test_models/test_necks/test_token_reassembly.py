import pytest
import torch

from m2h_mm.models.necks import TokenReassembly
from m2h_mm.structures import Features


def features(channels=(16, 16, 16, 16), size=(5, 4), cls=True):
    torch.manual_seed(0)
    return Features(
        tuple(torch.randn(2, c, *size) for c in channels),
        tuple(torch.randn(2, c) for c in channels) if cls else None,
    )


@pytest.mark.parametrize('separable', [False, True])
def test_pyramid_has_the_strides_that_it_states(separable):
    neck = TokenReassembly((16,) * 4, out_channels=8, separable=separable)
    source = features(size=(6, 4))
    out = neck(source)
    assert out.source is source
    assert neck.strides == (3.5, 7, 14, 28) and neck.out_channels == (8, 8, 8, 8)
    height = 6 * 14
    assert [tuple(x.shape) for x in out.maps] == [
        (2, 8, round(height / stride), round(4 * 14 / stride)) for stride in neck.strides
    ]


def test_default_channels_are_parts_of_the_embedding():
    levels = TokenReassembly((384,) * 4).levels
    assert [level.project.out_channels for level in levels] == [48, 96, 192, 384]


def test_readout_equals_a_linear_layer_on_map_and_token():
    neck, given = TokenReassembly((16,) * 4, out_channels=8).double(), features()
    x, token = given.maps[2].double(), given.cls_tokens[2].double()
    level = neck.levels[2]
    joined = torch.cat([x, token[:, :, None, None].expand_as(x)], dim=1).permute(0, 2, 3, 1)
    z = torch.nn.functional.gelu(level.readout(joined)).permute(0, 3, 1, 2)
    torch.testing.assert_close(level(x, token), level.out(level.project(z)))


def test_a_backbone_without_class_tokens():
    given = features(channels=(8, 16, 16, 24), cls=False)
    with pytest.raises(ValueError, match="readout='ignore'"):
        TokenReassembly((8, 16, 16, 24), out_channels=8)(given)
    out = TokenReassembly((8, 16, 16, 24), in_strides=(16,) * 4, out_channels=8, readout='ignore')(
        given
    )
    assert [x.shape[-1] for x in out.maps] == [16, 8, 4, 2]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=(16,) * 3), 'four levels'),
        (dict(in_strides=(4, 8, 16, 32)), 'one stride'),
        (dict(in_channels=(4,) * 4), 'mid_channels'),
        (dict(readout='add'), 'readout'),
    ],
)
def test_what_does_not_fit_is_refused_when_built(options, message):
    with pytest.raises(ValueError, match=message):
        TokenReassembly(**{**dict(in_channels=(16,) * 4), **options})
