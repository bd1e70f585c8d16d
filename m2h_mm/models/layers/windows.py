"""Cutting maps into windows of tokens, shifted and dilated, and putting them together again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from m2h_mm.structures.shapes import known_equal


@dataclass(frozen=True)
class WindowGrid:
    """How a map of one size is cut into windows.

    Maps are ``(N, H, W, T, C)``: T tokens of C channels at each pixel. With window size n and
    dilation d a window holds n x n pixels, every d-th in either direction, so that d x d windows
    interleave in a square of n d pixels. The map is padded at the bottom and right to multiples of
    n d. A shift rolls the padded map up and left first, so that the windows lie ``shift`` pixels
    further down and right; pixels that were rolled around the edge share a window with strangers,
    from which :meth:`mask` keeps them.

    Args:
        height, width: H and W in pixels.
        window_size: n, in taken pixels.
        dilation: d, in pixels.
        shift: in pixels. Along a side that one window spans there is nothing to shift, and it is 0.
    """

    height: int
    width: int
    window_size: int
    dilation: int = 1
    shift: int = 0

    @property
    def extent(self) -> int:
        """Side of the square that interleaved windows share, in pixels."""
        return self.window_size * self.dilation

    @property
    def squares(self) -> tuple[int, int]:
        """How many such squares there are, from top to bottom and from left to right."""
        return tuple((side + self.extent - 1) // self.extent for side in (self.height, self.width))

    @property
    def padding(self) -> tuple[int, int]:
        """Rows below and columns to the right that are added."""
        down, aside = self.squares
        return down * self.extent - self.height, aside * self.extent - self.width

    @property
    def padded(self) -> bool:
        """Whether there is padding; of a size that is not known yet (an export) there may be."""
        return not all(known_equal(added, 0) for added in self.padding)

    @property
    def shifts(self) -> tuple[int, int]:
        """Pixels by which windows lie further down and right."""
        return tuple(
            self.shift if self.shift and side > self.extent else 0
            for side in (self.height, self.width)
        )

    def cut(self, x: Tensor) -> Tensor:
        """``(N, H, W, T, C)`` to tokens ``(N * windows, n * n * T, C)``, pixel by pixel and its T
        tokens together.
        """
        if self.padded:
            below, right = self.padding
            x = F.pad(x, (0, 0, 0, 0, 0, right, 0, below))
        if any(self.shifts):
            down, right = self.shifts
            x = x.roll((-down, -right), (1, 2))
        return self._cut(x)

    def _cut(self, x: Tensor) -> Tensor:
        # No size is left open (-1): for an export that does not know them, it would be a quotient
        # of long products.
        num, _, _, tokens, channels = x.shape
        n, d, (down, aside) = self.window_size, self.dilation, self.squares
        # Not more than the eight dimensions that TensorRT transposes.
        x = x.reshape(num, down, n, d, aside, n, d, tokens * channels)
        return (
            x.permute(0, 1, 3, 4, 6, 2, 5, 7)
            .contiguous()
            .view(num * down * d * aside * d, n * n * tokens, channels)
        )

    def merge(self, windows: Tensor, num: int) -> Tensor:
        """The inverse of :meth:`cut`: ``(N * windows, n * n * T, C)`` to ``(N, H, W, T, C)`` with N
        = ``num``.
        """
        n, d, (down, aside) = self.window_size, self.dilation, self.squares
        tokens, channels = windows.shape[1] // (n * n), windows.shape[2]
        x = windows.reshape(num, down, d, aside, d, n, n, tokens * channels)
        x = (
            x.permute(0, 1, 5, 2, 3, 6, 4, 7)
            .contiguous()
            .view(num, down * n * d, aside * n * d, tokens, channels)
        )
        if any(self.shifts):
            x = x.roll(self.shifts, (1, 2))
        if isinstance(self.height, torch.SymInt):
            # A slice that may be the whole has no known memory layout in an export for several
            # sizes.
            for axis, length in ((1, self.height), (2, self.width)):
                x = x.index_select(axis, torch.arange(length, device=x.device))
            return x
        return x[:, : self.height, : self.width]

    def valid(self, tokens: int, device: torch.device) -> Tensor:
        """``(windows, n * n * T)`` bool, False for tokens of the padding."""
        inside = torch.ones(1, self.height, self.width, tokens, 1, dtype=torch.bool, device=device)
        return self.cut(inside)[..., 0]

    def mask(self, tokens: int, device: torch.device, mask_padding: bool = False) -> Tensor | None:
        """Which token of a window may attend to which other.

        Args:
            tokens: T.
            device: where the mask is wanted.
            mask_padding: whether tokens of the padding are hidden from the map's own.

        Returns:
            ``(windows, L, L)`` bool with L = n * n * T, query first, True where it may; None where
            every token may attend to every other. No row is empty: tokens of the padding still see
            each other (nobody looks at what becomes of them, but an empty softmax would be NaN).
        """
        allowed = None
        if any(self.shifts):
            below, right = self.padding
            down, aside = self.shifts
            rows = torch.arange(self.height + below, device=device) >= self.height + below - down
            columns = torch.arange(self.width + right, device=device) >= self.width + right - aside
            region = (2 * rows[:, None] + columns)[None, :, :, None, None]
            region = self._cut(region.expand(-1, -1, -1, tokens, -1))[..., 0]
            allowed = region[:, :, None] == region[:, None, :]
        if mask_padding and self.padded:
            valid = self.valid(tokens, device)
            visible = valid[:, None, :] | ~valid[:, :, None]
            allowed = visible if allowed is None else allowed & visible
        return allowed
