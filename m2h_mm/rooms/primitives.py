"""The solids that rooms are made of, and groups of them."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np

from m2h_mm.rooms.materials import Material

BOX, CYLINDER, ELLIPSOID, SHELL = range(4)
"""Kinds of primitives. ``SHELL`` is a face of the room itself, which is met from inside."""


def rotation(yaw: float = 0.0, tilt: float = 0.0) -> np.ndarray:
    """3x3 rotation: first by ``tilt`` radians about x, then by ``yaw`` radians about the vertical z
    axis.
    """
    cos_yaw, sin_yaw, cos_tilt, sin_tilt = np.cos(yaw), np.sin(yaw), np.cos(tilt), np.sin(tilt)
    return np.array(
        [
            [cos_yaw, -sin_yaw * cos_tilt, sin_yaw * sin_tilt],
            [sin_yaw, cos_yaw * cos_tilt, -cos_yaw * sin_tilt],
            [0.0, sin_tilt, cos_tilt],
        ]
    )


@dataclass
class Part:
    """One primitive: a box, an elliptic (tapered) cylinder along its z axis, or an ellipsoid.

    Attributes:
        kind: ``BOX``, ``CYLINDER``, ``ELLIPSOID`` or ``SHELL``.
        center: (3,) metres.
        half: (3,) half extents along its own axes, metres.
        rotation: 3x3, own axes to the group's axes.
        material: its surface.
        instance: index into the group's ``classes``.
        taper: of a cylinder, in (-0.5, 0.5): the radius is ``1 - |taper| + taper * z`` of ``half``
            for z in [-1, 1].
        casts: whether it stops light. Window panes and lamps do not, and to save time neither does
            what lies flat on something that does, such as a drawer's front.
    """

    kind: int
    center: np.ndarray
    half: np.ndarray
    rotation: np.ndarray
    material: Material
    instance: int
    taper: float = 0.0
    casts: bool = True


@dataclass
class Group:
    """Parts in a frame of their own, e.g. one chair, or a table with what stands on it.

    The frame: z up with the floor (or the support) at 0, the front towards -y, so that the back
    (+y) goes to the wall.
    """

    parts: list[Part] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    lamps: list[np.ndarray] = field(default_factory=list)

    def begin(self, class_id: int) -> None:
        """Start a new instance of NYU40 class ``class_id`` (1..40); the parts that follow belong to
        it.
        """
        self.classes.append(class_id)

    def _add(self, kind, size, at, material, yaw, tilt, **options) -> None:
        half = np.asarray(size, dtype=float) / 2
        center = np.asarray(at, dtype=float) + (0.0, 0.0, half[2])
        self.parts.append(
            Part(
                kind, center, half, rotation(yaw, tilt), material, len(self.classes) - 1, **options
            )
        )

    def box(
        self, size, at, material: Material, yaw: float = 0.0, tilt: float = 0.0, **options
    ) -> None:
        """A box of ``size`` (x, y, z); its untilted bottom face has its centre ``at`` (x, y, z)."""
        self._add(BOX, size, at, material, yaw, tilt, **options)

    def cylinder(
        self, size, at, material: Material, yaw: float = 0.0, tilt: float = 0.0, **options
    ) -> None:
        """An upright elliptic cylinder in the box of ``size`` on ``at``."""
        self._add(CYLINDER, size, at, material, yaw, tilt, **options)

    def ellipsoid(
        self, size, at, material: Material, yaw: float = 0.0, tilt: float = 0.0, **options
    ) -> None:
        """An ellipsoid in the box of ``size`` on ``at``."""
        self._add(ELLIPSOID, size, at, material, yaw, tilt, **options)

    def put(self, other: Group, at, yaw: float = 0.0) -> None:
        """Add another group's parts with its origin ``at``, turned by ``yaw`` radians."""
        turn, at, first = rotation(yaw), np.asarray(at, dtype=float), len(self.classes)
        for part in other.parts:
            self.parts.append(
                replace(
                    part,
                    center=turn @ part.center + at,
                    rotation=turn @ part.rotation,
                    instance=part.instance + first,
                )
            )
        self.classes.extend(other.classes)
        self.lamps.extend(turn @ lamp + at for lamp in other.lamps)

    def bounds(self) -> np.ndarray:
        """(2, 3) lower and upper corner of the axis-aligned box around all parts, metres."""
        center = np.array([part.center for part in self.parts])
        reach = np.array([np.abs(part.rotation) @ part.half for part in self.parts])
        return np.array([(center - reach).min(0), (center + reach).max(0)])


class Primitives:
    """All parts of a scene as arrays, ready to be met by rays.

    A ray ``o + t d`` is met in a primitive's own space, where it is a unit box, cylinder or sphere:
    ``to_unit @ (o - center) + t * (to_unit @ d)``; ``t`` is the same in both spaces.

    Attributes:
        kind, taper, casts, instance, material: (P,).
        center, half: (P, 3); rotation, to_unit: (P, 3, 3).
        materials: the distinct materials; ``material`` indexes them.
    """

    def __init__(self, parts: list[Part]) -> None:
        self.kind = np.array([part.kind for part in parts], dtype=np.int8)
        self.taper = np.array([part.taper for part in parts], dtype=np.float32)
        self.casts = np.array([part.casts for part in parts])
        self.instance = np.array([part.instance for part in parts], dtype=np.int32)
        self.center = np.array([part.center for part in parts], dtype=np.float32)
        self.half = np.array([part.half for part in parts], dtype=np.float32)
        self.rotation = np.array([part.rotation for part in parts], dtype=np.float32)
        self.to_unit = self.rotation.transpose(0, 2, 1) / self.half[:, :, None]
        index: dict[int, int] = {}
        self.materials: list[Material] = []
        for part in parts:
            if id(part.material) not in index:
                index[id(part.material)] = len(self.materials)
                self.materials.append(part.material)
        self.material = np.array([index[id(part.material)] for part in parts], dtype=np.int16)

    def shifted(self, instance: int, shift: np.ndarray) -> Primitives:
        """The same with one instance's parts moved by ``shift`` (3,), metres."""
        other = copy(self)
        other.center = self.center.copy()
        other.center[self.instance == instance] += np.asarray(shift, np.float32)
        return other
