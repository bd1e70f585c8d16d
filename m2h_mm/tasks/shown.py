"""What is drawn of a task: its maps, with masks of what they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Map:
    """A label or a prediction that is to be drawn.

    Attributes:
        value: ``(H, W)`` or ``(H, W, 3)``, finite also where it is not valid.
        valid: ``(H, W)`` bool, True where there is a value.
    """

    value: np.ndarray
    valid: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The valid values, ``(N,)`` or ``(N, 3)``."""
        return self.value[self.valid]


@dataclass(frozen=True)
class Shown:
    """The maps of one task that share their colours and the key to them.

    Attributes:
        truth, prediction: None where there is no such map.
    """

    truth: Map | None = None
    prediction: Map | None = None

    @property
    def maps(self) -> tuple[Map, ...]:
        """Those that there are, the truth first."""
        return tuple(map for map in (self.truth, self.prediction) if map is not None)
