"""A map and how it grows in Rerun, a viewer of robots' data: live, or as a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2h_mm.mapping.mesh import Mesh
from m2h_mm.mapping.scene_graph import SceneGraph
from m2h_mm.system.files import replacing
from m2h_mm.tasks.semseg.colours import class_colours


class RerunLog:
    """Frames, mesh and scene graph, sent to Rerun. A context manager; a recording appears when it
    is left without an error.

    Args:
        path: of the recording, ``.rrd``. Default: none.
        live: open the viewer.

    Raises:
        ImportError: rerun-sdk is not installed.
        OSError: the recording cannot be written.
    """

    def __init__(self, path: str | Path | None = None, live: bool = False) -> None:
        try:
            import rerun
        except ImportError as error:
            raise ImportError(
                'A live view or a recording needs Rerun: pip install rerun-sdk, or m2h_mm[rerun].'
            ) from error
        self._rerun, self._path, self._live = rerun, path, live
        self._file = None

    def __enter__(self) -> RerunLog:
        rerun = self._rerun
        self._stream = rerun.RecordingStream('m2h_mm')
        sinks = []
        if self._live:
            self._stream.spawn(connect=False)
            sinks.append(rerun.GrpcSink())
        if self._path is not None:
            self._file = replacing(self._path)
            sinks.append(rerun.FileSink(str(self._file.__enter__())))
        self._stream.set_sinks(*sinks)
        self._stream.log('world', rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.flush()
        self._stream.disconnect()
        if self._file is not None:
            self._file.__exit__(*error)

    def frame(
        self,
        number: int,
        timestamp: float | None,
        image: np.ndarray,
        depth: np.ndarray,
        classes: np.ndarray | None,
        cam2img: np.ndarray,
        cam2world: np.ndarray,
    ) -> None:
        """Send a frame: image ``(H, W, 3)`` uint8, depth in metres, classes, intrinsics in pixels,
        the pose of the optical frame, its time in seconds.
        """
        rerun, stream = self._rerun, self._stream
        stream.set_time('frame', sequence=number)
        if timestamp is not None:
            stream.set_time('time', duration=timestamp)
        stream.log(
            'world/camera',
            rerun.Transform3D(translation=cam2world[:3, 3], mat3x3=cam2world[:3, :3]),
        )
        camera = rerun.Pinhole(
            image_from_camera=cam2img,
            width=image.shape[1],
            height=image.shape[0],
            camera_xyz=rerun.ViewCoordinates.RDF,
        )
        stream.log('world/camera/view', camera)
        stream.log('world/camera/view/image', rerun.Image(image).compress())
        known = np.where(np.isfinite(depth), depth, 0).clip(0, 65)
        millimetres = np.rint(known * 1000).astype(np.uint16)
        stream.log('world/camera/view/depth', rerun.DepthImage(millimetres, meter=1000.0))
        if classes is not None:
            stream.log('world/camera/view/classes', rerun.SegmentationImage(classes))

    def mesh(self, mesh: Mesh, level: np.ndarray) -> None:
        """Send the map as it is now, once in its colours and once by classes.

        Args:
            mesh: z up.
            level: ``(4, 4)`` from the world of the poses to that of the mesh.
        """
        self._level(level)
        for name, colours in (
            ('colours', mesh.colours),
            ('classes', class_colours()[mesh.classes]),
        ):
            self._stream.log(
                f'level/mesh/{name}',
                self._rerun.Mesh3D(
                    vertex_positions=mesh.points,
                    triangle_indices=mesh.triangles,
                    vertex_normals=mesh.point_normals,
                    vertex_colors=colours,
                ),
            )

    def graph(self, graph: SceneGraph) -> None:
        """Send boxes of things, places with the ways between them, and rooms."""
        rerun, stream, plan = self._rerun, self._stream, graph.plan
        colours = class_colours()
        if graph.objects:
            stream.log(
                'level/graph/objects',
                rerun.Boxes3D(
                    centers=[thing.centre for thing in graph.objects],
                    sizes=[thing.size for thing in graph.objects],
                    quaternions=[
                        [0, 0, np.sin(thing.yaw / 2), np.cos(thing.yaw / 2)]
                        for thing in graph.objects
                    ],
                    colors=[colours[thing.class_number] for thing in graph.objects],
                    labels=[thing.name for thing in graph.objects],
                ),
            )
        if plan.places:
            stream.log(
                'level/graph/places', rerun.Points3D([place.position for place in plan.places])
            )
            ways = [
                [place.position, plan.places[other].position]
                for place in plan.places
                for other in place.neighbours
            ]
            # What a thing belongs to.
            ways += [
                [thing.centroid, plan.places[place].position]
                for thing, place in zip(graph.objects, graph.place_of_object, strict=True)
                if place >= 0
            ]
            stream.log('level/graph/edges', rerun.LineStrips3D(ways))
        if plan.rooms:
            stream.log(
                'level/graph/rooms',
                rerun.Points3D(
                    [room.centre for room in plan.rooms],
                    labels=[f'room {room.number}' for room in plan.rooms],
                ),
            )

    def _level(self, level: np.ndarray) -> None:
        """The world of the graph lies in that of the poses."""
        back = np.linalg.inv(level)
        self._stream.log(
            'level',
            self._rerun.Transform3D(translation=back[:3, 3], mat3x3=back[:3, :3]),
            static=True,
        )
