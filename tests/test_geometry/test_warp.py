"""Maps of one view brought into another."""

import math

import pytest
import torch
from room_views import room_views

from m2h_mm.geometry.warp import Warp, warp_map


def camera(size=(6, 8), focal=8.0):
    return torch.tensor([[[focal, 0, (size[1] - 1) / 2], [0, focal, (size[0] - 1) / 2], [0, 0, 1]]])


def pose(x=0.0, y=0.0, z=0.0, yaw=0.0):
    """``yaw`` radians to the right."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return torch.tensor(
        [[cos, 0, sin, x], [0, 1, 0, y], [-sin, 0, cos, z], [0, 0, 0, 1]], dtype=torch.float64
    )[None]


def numbered(size=(6, 8)):
    return torch.arange(size[0] * size[1], dtype=torch.float32).view(1, 1, *size)


def test_a_camera_that_stands_still_sees_the_same_to_the_border():
    depth = 1 + torch.rand(1, 1, 6, 8)
    warp = Warp(depth, camera(), pose(9, 2, 3, 0.7), pose(9, 2, 3, 0.7))
    assert warp.visible(depth).all()
    assert torch.equal(warp.ids(numbered().long()), numbered().long())
    torch.testing.assert_close(warp.depth(depth), depth)


def test_a_step_to_the_right_looks_to_the_right():
    # At 4 m and 8 pixels of focal length, half a metre is one pixel.
    moved, seen = warp_map(
        numbered(), torch.full((1, 1, 6, 8), 4.0), camera(), pose(), pose(x=0.5), kind='ids'
    )
    assert torch.equal(moved[..., :-1], numbered()[..., 1:])
    assert seen[..., :-1].all() and not seen[..., -1].any()


def test_a_step_forward_makes_the_map_of_depth_nearer():
    depth, before = torch.full((1, 1, 6, 8), 3.5), torch.full((1, 1, 6, 8), 4.0)
    moved, seen = warp_map(before, depth, camera(), pose(), pose(z=0.5), 'depth', before)
    assert seen.all()
    torch.testing.assert_close(moved, depth)


def test_normals_turn_with_the_camera():
    before = torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1).expand(1, 3, 6, 8)
    # The normal of a wall straight ahead points back; once turned to the right, a little right of
    # that.
    warp = Warp(torch.full((1, 1, 6, 8), 2.0), camera(), pose(), pose(yaw=0.1))
    normal = warp.normals(before)[0, :, 3, 3]
    torch.testing.assert_close(normal, torch.tensor([math.sin(0.1), 0, math.cos(0.1)]))


def test_what_was_hidden_is_not_visible():
    """A post 1 m away before a wall 4 m away: it hides other pixels of it from each place."""
    before, now = torch.full((1, 1, 6, 8), 4.0), torch.full((1, 1, 6, 8), 4.0)
    before[..., 5] = now[..., 1] = 1.0  # half a metre to the right moves it by 4 pixels
    warp = Warp(now, camera(), pose(), pose(x=0.5))
    visible = warp.visible(before)
    assert visible[0, 0, 0].tolist() == [True, True, True, True, False, True, True, False]


def test_depth_that_is_not_known_counts_nowhere():
    depth = torch.full((1, 1, 6, 8), 2.0)
    now, before = depth.clone(), depth.clone()
    now[..., 0], now[..., 1], before[..., 2], before[..., 3] = 0, math.nan, -1, math.inf
    visible = Warp(now, camera(), pose(), pose()).visible(before)
    assert not visible[..., :4].any() and visible[..., 4:].all()


def test_between_pixels_depth_is_exact_on_planes():
    """A floor seen from two places, neither of which maps pixels on pixels."""
    rows = torch.arange(6).view(1, 1, -1, 1).float()
    now = (1.5 * 8 / (rows - 2.5).clamp(min=0.5)).expand(1, 1, 6, 8)
    visible_rows = (rows > 2.5).expand(1, 1, 6, 8)
    before = (1.0 * 8 / (rows - 2.5).clamp(min=0.5)).expand(1, 1, 6, 8)
    warp = Warp(now, camera(), pose(y=0.5), pose(x=0.03))  # y is down: half a metre lower before
    counted = warp.visible(before) & visible_rows
    assert counted.sum() >= 7
    torch.testing.assert_close(warp.depth(before)[counted], now[counted])


def test_gradients_reach_the_map_and_are_finite():
    depth = torch.full((1, 1, 6, 8), 2.0)
    depth[..., 2, 2] = 0
    before = depth.clone().requires_grad_()
    warp = Warp(depth, camera(), pose(), pose(x=0.1, z=0.1))
    warp.depth(before)[warp.inside].sum().backward()
    assert torch.isfinite(before.grad).all() and before.grad.abs().sum() > 0


def test_frames_of_two_sizes_and_cameras():
    """The frame before has half the pixels of the same view."""
    small = torch.tensor([[[4.0, 0, 1.5], [0, 4.0, 1.0], [0, 0, 1]]])
    warp = Warp(
        torch.full((1, 1, 6, 8), 2.0), camera(), pose(), pose(), small, previous_size=(3, 4)
    )
    found = warp.values(numbered((3, 4)))[0, 0]
    assert found[2, 2] == pytest.approx(4 * 0.75 + 0.75)
    with pytest.raises(ValueError, match=r'3x4 pixels.*6x8'):
        warp.ids(numbered())


def test_true_maps_of_a_room_agree():
    """Wrong axes, poses the wrong way round or rotations of normals would show here."""
    before, now = room_views(3, [(0, 0, 0), (0.03, 0.02, 0.05)], (120, 160), [0, 0.03])
    warp = Warp(now['depth'], now['cam2img'], before['cam2world'], now['cam2world'])
    visible = warp.visible(before['depth'])
    assert visible.float().mean() > 0.8
    change = (warp.depth(before['depth']) / now['depth'] - 1).abs()[visible]
    assert change.mean() < 2e-3
    ids, weights = warp.surroundings(before['semseg'])
    found = ((ids == now['semseg'][:, :, None]) & (weights > 0)).any(2)
    assert found[visible].float().mean() > 0.9995
    normals = (warp.normals(before['normals']) * now['normals']).sum(1, keepdim=True)
    assert normals[visible].median() > 1 - 1e-5
    # A pose of the other direction is far worse.
    wrong = Warp(now['depth'], now['cam2img'], now['cam2world'], before['cam2world'])
    assert wrong.visible(before['depth']).float().mean() < 0.75


def test_unknown_kind():
    with pytest.raises(ValueError, match="'ids'"):
        warp_map(numbered(), numbered(), camera(), pose(), pose(), kind='nearest')
