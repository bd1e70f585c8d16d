"""From frames with depth and poses to a map: its mesh, its scene graph, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2h_mm.mapping.fusion_kernels import mark_seen
from m2h_mm.mapping.gravity import estimate_up, moved, upright
from m2h_mm.mapping.mesh import Mesh, extract_mesh
from m2h_mm.mapping.roles import Roles
from m2h_mm.mapping.scene_graph import SceneGraph, build_scene_graph
from m2h_mm.mapping.volume import Volume, inverse_depth

FILES = ('mesh.ply', 'mesh.glb', 'graph.json', 'dsg.json', 'map.png')
"""What :meth:`Map.write` writes."""
_CELL = 0.1
_CELLS = 2**20  # 0.1 m each: a thousand cubic metres, in 20 MiB
_STRIDE = 8
_TILTED = np.cos(np.radians(5))


class Mapper:
    """A volume, and the space that its cameras have seen through.

    Args:
        names: of the classes, by number. Default: not known.
        **settings: of :class:`~m2h_mm.mapping.volume.Volume`.

    Attributes:
        volume: the :class:`Volume`.
        roles: what the classes are.
        cameras: positions of the frames, (3,) each, metres.
    """

    def __init__(self, names: Sequence[str] = (), **settings) -> None:
        self.volume = Volume(**settings)
        self.roles = Roles(names)
        self.cameras: list[np.ndarray] = []
        self._keys = np.full(2 * _CELLS, -1, np.int64)
        self._cells = np.zeros((_CELLS, 3), np.int32)
        self._count = 0

    def fuse(
        self,
        depth: np.ndarray,
        cam2img: np.ndarray,
        cam2world: np.ndarray,
        colours: np.ndarray | None = None,
        classes: np.ndarray | None = None,
        probabilities: np.ndarray | None = None,
    ) -> None:
        """Bring a frame into the map, see :meth:`Volume.fuse`."""
        self.volume.fuse(depth, cam2img, cam2world, colours, classes, probabilities)
        pose = np.ascontiguousarray(cam2world, np.float64)
        camera = tuple(float(cam2img[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
        self._count = mark_seen(
            inverse_depth(depth),
            camera,
            pose,
            self.volume.far,
            _STRIDE,
            _CELL,
            2 * _CELL,
            self._keys,
            self._cells,
            self._count,
        )
        self.cameras.append(pose[:3, 3].copy())

    def finish(
        self, up: np.ndarray | None = None, min_weight: float = 0.05, min_area: float = 0.04
    ) -> Map:
        """The map as it is now.

        Args:
            up: (3,) direction in the world of the poses. Default: the normal of what is floor by
                its class; where that is within 5 degrees of z, or where there is no floor, z.
            min_weight: see :func:`~m2h_mm.mapping.mesh.extract_mesh`.
            min_area: surface of a thing, square metres.
        """
        mesh = extract_mesh(self.volume, min_weight)
        how = 'as given'
        if up is None:
            up, how = estimate_up(mesh, self.roles), 'the normal of the floor'
            if up is None or up[2] > _TILTED:
                how = 'z of the poses' + (', as no floor was seen' if up is None else '')
                up = np.array([0.0, 0.0, 1.0])
        level = upright(up)
        turned = level[:3, :3].T
        mesh = moved(mesh, level)
        facts = dict(
            frames=self.volume.frames,
            voxel=self.volume.voxel,
            complete=self.volume.refused == 0,
            up=how,
            level_from_world=level.tolist(),
        )
        seen = (self._cells[: self._count] + 0.5) * _CELL @ turned
        graph = build_scene_graph(mesh, self.roles, seen, min_area, facts)
        return Map(mesh, graph, np.array(self.cameras).reshape(-1, 3) @ turned, level)


@dataclass
class Map:
    """A finished map; z is up.

    Attributes:
        mesh: its surface.
        graph: rooms, places, things, planes.
        cameras: ``(N, 3)`` the way of the camera, metres.
        level: ``(4, 4)`` from the world of the poses to this one.
    """

    mesh: Mesh
    graph: SceneGraph
    cameras: np.ndarray
    level: np.ndarray

    def write(self, folder: str | Path) -> list[Path]:
        """Write mesh (PLY, GLB), graph (ours, Spark-DSG's) and picture into a folder, each whole or
        not there.

        Raises:
            ValueError: there is no surface.
        """
        from m2h_mm.mapping.dsg_file import write_dsg
        from m2h_mm.mapping.map_picture import draw_map
        from m2h_mm.visualization import save_picture

        if not len(self.mesh.triangles):
            raise ValueError(
                'The map has no surface: no pixel with depth within reach was seen from a known '
                'pose. Look at depth, poses and far.'
            )
        picture = draw_map(self.mesh, self.graph, self.cameras)
        files = [Path(folder, name) for name in FILES]
        self.mesh.write_ply(files[0])
        self.mesh.write_glb(files[1])
        self.graph.write_json(files[2])
        write_dsg(self.graph, files[3])
        save_picture(picture, files[4])
        return files
