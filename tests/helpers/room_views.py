"""Views of one room from several places, with exact maps and poses."""

from dataclasses import replace

import numpy as np
import torch

from m2h_mm.rooms.camera import look
from m2h_mm.rooms.primitives import Primitives
from m2h_mm.rooms.raycast import cast, dot, planes
from m2h_mm.rooms.styles import find_style
from m2h_mm.rooms.viewpoint import choose_camera


def room_views(index, shifts, size=(48, 64), turns=None):
    """Maps of room ``index`` from a camera and from places beside it.

    Args:
        shifts: of each view, ``(3,)`` metres to the right, up and forward.
        turns: of each view, radians to the right. Default: none.

    Returns: of each view a dict: ``depth`` ``(1, 1, H, W)``, ``normals`` ``(1, 3, H, W)``,
        ``semseg`` ``(1, 1, H, W)``, ``cam2img`` ``(1, 3, 3)``, ``cam2world`` ``(1, 4, 4)``.
    """
    style = find_style('plain')
    rng = np.random.default_rng((7, index))
    room = style.make_room(rng)
    first = choose_camera(rng, room, *size, style.framing)
    primitives = Primitives(room.group.parts)
    classes = np.array(room.group.classes)
    views = []
    for number, shift in enumerate(shifts):
        angle = 0.0 if turns is None else turns[number]
        right, up, forward = first.axes
        ahead = np.cos(angle) * forward + np.sin(angle) * right
        position = first.position + np.asarray(shift) @ first.axes
        turned = look(position, position + ahead, 0.0, first.cam2img[0, 0], *size)
        camera = replace(turned, cam2img=first.cam2img)
        hits = cast(primitives, camera)
        normals = [dot(planes(axis), hits.normal) for axis in camera.axes * [[1], [1], [-1]]]
        pose = np.eye(4)
        pose[:3, :3] = (camera.axes * [[1], [-1], [1]]).T
        pose[:3, 3] = camera.position
        views.append(
            dict(
                depth=torch.from_numpy(hits.depth)[None, None],
                normals=torch.from_numpy(np.stack(normals))[None],
                semseg=torch.from_numpy(classes[primitives.instance[hits.primitive]])[None, None],
                cam2img=torch.from_numpy(camera.cam2img)[None],
                cam2world=torch.from_numpy(pose)[None],
            )
        )
    return views
