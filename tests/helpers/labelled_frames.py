"""Frames with labels and a camera, as the transforms take them."""

import numpy as np
from label_fields import label_of

from m2h_mm.structures import Label
from m2h_mm.tasks import build_tasks

FIELDS = ('gt_semseg', 'gt_depth', 'gt_normals', 'gt_edge')
CAMERA = np.array([[60.0, 0, 37.3], [0, 62.0, 21.8], [0, 0, 1]])
SIZE = (48, 64)


def frame(seed=0, size=SIZE, lacking=()):
    """A frame of noise with no label in every fifth row."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(*size, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    labels = dict(
        gt_semseg=rng.integers(0, 40, size).astype(np.uint8),
        gt_normals=normals,
        gt_depth=rng.uniform(0.5, 9, size).astype(np.float32),
        gt_edge=(rng.random(size) < 0.2).astype(np.uint8),
    )
    valid = np.ones(size, bool)
    valid[::5] = False
    for field, value in labels.items():
        value[::5] = 0
        labels[field] = Label(value, valid.copy())
    return dict(
        img=rng.integers(0, 256, (*size, 3)).astype(np.uint8),
        img_path='a.png',
        frame_id='a',
        ori_shape=size,
        img_shape=size,
        cam2img=CAMERA.copy(),
        tasks=build_tasks(('semseg', 'depth', 'normals', 'edge')),
        rng=np.random.default_rng(seed),
        **{key: value for key, value in labels.items() if key not in lacking},
    )


def plane_frame(size=SIZE, normal=(0.5, -0.3, -0.8), distance=3.0):
    """A slanted plane n.X = -distance, seen by a camera x right, y down, z forward."""
    normal = np.array(normal) / np.linalg.norm(normal)
    depth = -distance / (rays(CAMERA, size) @ normal)
    results = frame(size=size)
    normals = np.broadcast_to(normal * (1, -1, -1), (*size, 3))
    results['gt_depth'] = label_of(depth.astype(np.float32))
    results['gt_normals'] = label_of(normals.astype(np.float32))
    return results


def rays(camera, size):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([columns, rows, np.ones(size)], axis=-1) @ np.linalg.inv(camera).T


def plane_normal(depth, camera):
    """Unit normal, x right, y up, toward the camera, of the plane through the valid points."""
    points = (rays(camera, depth.shape) * depth[..., None])[depth > 0].astype(np.float64)
    normal = np.linalg.svd(points - points.mean(0), full_matrices=False)[2][2]
    return normal * -np.sign(normal @ points.mean(0)) * (1, -1, -1)
