"""Back-projection and normals from depth."""

import pytest
import torch
import torch.nn.functional as F

from m2h_mm.geometry.pinhole import backproject, check_camera, normals_from_depth, pixel_rays

SIZE = (6, 8)


def camera(fx=50.0, fy=60.0, cx=3.3, cy=2.1):
    return torch.tensor([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]], dtype=torch.float64)


def plane_depth(normal, distance, cam2img, size=SIZE):
    """Depth of the plane normal . P = -distance along each pixel's ray."""
    rays = pixel_rays(cam2img, size)
    return -distance / (rays * normal.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def test_backproject_frame():
    points = backproject(torch.full((1, 1, *SIZE), 2.0, dtype=torch.float64), camera())
    assert torch.equal(points[:, 2], torch.full((1, *SIZE), -2.0, dtype=torch.float64))
    assert points[0, 0, 0, 4] == pytest.approx(2 * (4 - 3.3) / 50)  # right of the centre: x > 0
    assert points[0, 1, 5, 0] == pytest.approx(-2 * (5 - 2.1) / 60)  # below the centre: y < 0


@pytest.mark.parametrize('normal', [(0, 0, 1), (0, 1, 0.1), (0.3, -0.2, 0.9), (-0.6, 0.5, 0.4)])
def test_normals_exact_on_planes_up_to_the_border(normal):
    normal = F.normalize(torch.tensor(normal, dtype=torch.float64), dim=0)
    depth = plane_depth(normal, 1.5, camera())
    assert (depth > 0).all()
    normals = normals_from_depth(depth, camera())
    torch.testing.assert_close(
        normals, normal.view(1, 3, 1, 1).expand_as(normals), rtol=0, atol=1e-10
    )


def test_normals_are_unit_and_face_the_camera_on_any_depth():
    depth = 0.5 + 3 * torch.rand(2, 1, *SIZE, dtype=torch.float64)
    cam2img = torch.cat((camera(), camera(fx=20, cx=0)))
    normals = normals_from_depth(depth, cam2img)
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(2, *SIZE, dtype=torch.float64))
    assert ((normals * backproject(depth, cam2img)).sum(dim=1) < 0).all()


def test_flip_negates_x():
    depth = 1 + torch.rand(1, 1, *SIZE, dtype=torch.float64)
    flipped = normals_from_depth(depth.flip(3), camera(cx=SIZE[1] - 1 - 3.3))
    expected = normals_from_depth(depth, camera()).flip(3) * torch.tensor([-1.0, 1, 1]).view(
        1, 3, 1, 1
    )
    torch.testing.assert_close(flipped, expected)


def test_scaling_the_scene_leaves_normals():
    depth = 1 + torch.rand(1, 1, *SIZE, dtype=torch.float64)
    torch.testing.assert_close(
        normals_from_depth(depth / 3, camera()), normals_from_depth(depth, camera())
    )


@pytest.mark.parametrize('value', [0.0, 2.0, -1.0])
def test_constant_depth_faces_the_camera_with_finite_gradients(value):
    depth = torch.full((1, 1, *SIZE), value, requires_grad=True)
    normals = normals_from_depth(depth, camera().float())
    assert torch.equal(normals[:, 2], torch.ones(1, *SIZE))
    (normals * torch.randn_like(normals)).sum().backward()
    assert torch.isfinite(depth.grad).all()


def test_gradient_is_right():
    depth = (1 + torch.rand(1, 1, 3, 4, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: normals_from_depth(d, camera(fx=3, fy=4)), depth)


def test_half_depth_gives_float32():
    assert (
        normals_from_depth(torch.ones(1, 1, *SIZE, dtype=torch.float16), camera()).dtype
        == torch.float32
    )


def test_real_frame_follows_the_stored_normals(nyud_sample):
    """Its README states a median of 3.5 to 14 degrees, depending on the window, and 36 degrees or
    more if an axis is turned round.
    """
    np = pytest.importorskip('numpy')
    cv2 = pytest.importorskip('cv2')
    depth = torch.from_numpy(np.load(nyud_sample / 'depth' / '000433.npy'))[None, None].double()
    stored = (
        cv2.imread(str(nyud_sample / 'normals' / '000433.png'))[..., ::-1].astype(np.float64)
        * 2
        / 255
        - 1
    )
    stored = torch.from_numpy(stored.copy()).permute(2, 0, 1)[None]
    cam2img = torch.tensor(
        [[[518.8579, 0, 325.5824], [0, 519.4696, 253.7362], [0, 0, 1]]], dtype=torch.float64
    )
    window = dict(kernel_size=15, stride=1, padding=7)
    measured = F.avg_pool2d((depth > 0).double(), **window)
    smooth = F.avg_pool2d(depth, **window) / measured.clamp(min=1e-3)
    valid = (measured == 1)[:, 0] & (stored.norm(dim=1) > 0.5)
    cosine = F.cosine_similarity(normals_from_depth(smooth, cam2img), stored, dim=1)[valid]
    assert torch.rad2deg(cosine.clamp(-1, 1).acos()).median() < 20


@pytest.mark.parametrize(
    ('camera', 'size'),
    [
        ((518.9, 519.5, 325.6, 253.7), (480, 640)),  # NYUv2
        ((518.9, 519.5, 285.1, 225.7), (425, 560)),
        ((886.8, 886.8, 512, 384), (768, 1024)),  # Hypersim
        ((2262.5, 2265.3, 1096.98, 513.14), (1024, 2048)),  # Cityscapes
        ((721.5, 721.5, 609.6, 172.9), (375, 1242)),  # KITTI
        ((320, 320, 319.5, 239.5), (480, 640)),  # 90 degrees
        ((100, 100, 319.5, 239.5), (480, 640)),  # 145
        ((500, 500, 320, -0.4), (240, 640)),  # the lower half of a photo
        ((500, 500, 5.5, 200), (240, 320)),  # a part of one
        ((500.0, 700.0, 320, 240), None),
        ((5, 5, 2, 2), (4, 6)),
    ],
)
def test_cameras_as_there_are(camera, size):
    assert check_camera(*camera, size) is None


@pytest.mark.parametrize(
    ('camera', 'doubt'),
    [
        ((20, 20, 319.5, 239.5), 'see 173 by 170 degrees'),
        ((9000, 9000, 319.5, 239.5), 'see 4.07 by 3.06 degrees'),
        ((1000, 1000, 959.5, 539.5), 'far from the middle'),
        ((1000, 1000, 959.5, 719.5), 'that of one of 1920x1440 does'),
        ((260, 260, 159.5, 119.5), 'that of one of 320x240 does'),
        ((500, 500, -200, 239), 'far from the middle'),
        ((500, 1100, 319.5, 239.5), '2.2 times as long as wide'),
    ],
)
def test_doubtful_cameras(camera, doubt):
    assert doubt in check_camera(*camera, (480, 640))


@pytest.mark.parametrize(
    ('camera', 'reason'),
    [
        ((float('nan'), 1, 2, 3), 'finite'),
        ((1, 1, 2, float('inf')), 'finite'),
        ((10**400, 1, 2, 3), 'finite'),
        ((10**400, 1, 10**400, 3), 'finite'),
        ((0, 1, 2, 3), 'positive'),
        ((1, -1, 2, 3), 'positive'),
        ((True, True, False, False), 'numbers'),
        (('5', '5', '1', '1'), 'numbers'),
        ((None, 5, 1, 1), 'numbers'),
        ((0.81, 1.08, 0.5, 0.5), 'Multiply fractions'),
        ((1e-300, 1, 2, 3), 'no camera'),
        ((1e300, 1e300, 2, 3), 'no camera'),
        ((500, 500, 1e12, 3), 'no camera'),
    ],
)
def test_cameras_that_cannot_be(camera, reason):
    with pytest.raises(ValueError, match=reason):
        check_camera(*camera, (480, 640))
