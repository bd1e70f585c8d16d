"""A room with three things in it, seen from its middle: exact depth, classes and poses."""

import numpy as np
from empty_room import GREY, empty_room

from m2h_mm.mapping.volume import Volume
from m2h_mm.rooms.camera import Camera, look
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.primitives import Group, Primitives
from m2h_mm.rooms.raycast import cast

SIZE = (4.0, 3.6, 2.4)
# Class, size and where the middle of the lower face is.
THINGS = (
    (Nyu40.BED, (1.4, 0.9, 0.5), (-1.2, -1.2, 0.0)),
    (Nyu40.TABLE, (0.8, 0.6, 0.7), (1.4, 1.2, 0.0)),
    (Nyu40.BOX, (0.5, 0.5, 0.4), (1.5, -1.3, 0.0)),
)
CLASSES = [f'class {number}' for number in range(40)]
for member in Nyu40:
    CLASSES[member - 1] = member.name.lower().replace('_', ' ')


def furnished_room() -> Group:
    group = empty_room(SIZE)
    for kind, size, at in THINGS:
        group.begin(kind)
        group.box(size, at, GREY)
    return group


def look_around(count: int, height: int = 60, width: int = 80) -> list[Camera]:
    """Cameras near the middle that look in all directions, down and up."""
    cameras = []
    for index in range(count):
        turn = 2 * np.pi * index / count
        ahead = np.array([np.cos(turn), np.sin(turn), (-0.55, 0.35)[index % 2]])
        position = np.array([0.0, 0.0, 1.4]) - 0.4 * ahead * (1, 1, 0)
        cameras.append(look(position, position + ahead, 0.02, 0.5 * width, height, width))
    return cameras


def pose_of(camera: Camera) -> np.ndarray:
    """Its cam2world, from the optical frame."""
    pose = np.eye(4)
    pose[:3, :3] = (camera.axes * [[1], [-1], [1]]).T
    pose[:3, 3] = camera.position
    return pose


def see(group: Group, camera: Camera) -> dict[str, np.ndarray]:
    """What :meth:`Volume.fuse` takes; colours tell classes apart."""
    primitives = Primitives(group.parts)
    hits = cast(primitives, camera)
    classes = np.array(group.classes)[primitives.instance[hits.primitive]] - 1
    return dict(
        depth=hits.depth,
        cam2img=camera.cam2img,
        cam2world=pose_of(camera),
        colours=np.repeat(np.uint8(6 * classes + 5)[..., None], 3, axis=2),
        classes=classes.astype(np.uint8),
    )


def map_room(group: Group, cameras: list[Camera], **settings) -> Volume:
    volume = Volume(**{'voxel': 0.05, **settings})
    for camera in cameras:
        volume.fuse(**see(group, camera))
    return volume
