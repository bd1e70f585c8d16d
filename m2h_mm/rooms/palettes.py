"""The colours that surfaces are painted, dyed and built in."""

from __future__ import annotations

import numpy as np


def linear(*colors: str) -> np.ndarray:
    """(K, 3) linear RGB of sRGB hex colours such as ``'c0ffee'``."""
    rgb = np.array([[int(color[i : i + 2], 16) for i in (0, 2, 4)] for color in colors]) / 255
    return (rgb**2.2).astype(np.float32)


PAINT = linear(
    'e8e0d0',
    'd9d4c5',
    'c9d3d6',
    'b9c9c0',
    'e3d3b8',
    'c8b8a8',
    'd7c4c0',
    'a9b7c4',
    'dedede',
    'c9c39a',
    '9db0a0',
    'b58a78',
    '8fa3b5',
    'd8b98a',
)
WOOD = linear(
    'b98b5a', '8a5a34', 'd3ab78', '5f3d24', 'a9713f', 'c79f73', '7c4a2b', 'e0c39a', '46301f'
)
FABRIC = linear(
    '7a6f66',
    '5b6b7d',
    '8d4a44',
    '3f4a55',
    'a89a86',
    '4f6350',
    'b7a07a',
    '6d5570',
    'c7c2ba',
    '2f4368',
    '9b6a3c',
    '7d8a94',
    'b04a3a',
    '3a6a6e',
    'd0b45c',
)
LINEN = linear(
    'e9e6df',
    'c7d2dc',
    'd9c6b5',
    '9fb3c8',
    'b88d8a',
    '7d90a8',
    'e2d2a8',
    '8f9d86',
    'cfcfd6',
    '6e5b7a',
)
VIVID = linear(
    'c23b2e',
    '2e6fb0',
    'e0a526',
    '3b8f55',
    '6a3f8c',
    'd96c2c',
    '1f4f6f',
    'e8e2d4',
    '28303a',
    'b7c94a',
    'a83e62',
    '57b5c2',
    '7b4b2a',
    'f0efe8',
)
METAL = linear('8f9295', 'b4b6b8', '4a4c50', '2a2b2d', 'a8946a')
CARDBOARD = linear('b68d5d', 'a57c4d', 'c49f70', 'e6e2da', '8b6a44')
