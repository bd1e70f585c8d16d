"""What a file exported from the tiny M2H must hold, whatever its format."""

import numpy as np
import torch

TASKS = ['semseg', 'depth', 'normals', 'edge']
RANGES = dict(semseg=0, depth=10, normals=2, edge=1)


def require_same(outputs, maps, size, tolerance):
    """Within ``tolerance`` of the range of the values; class ids exactly."""
    for name, output in zip(TASKS, outputs, strict=True):
        expected = torch.from_numpy(maps[name]).reshape(*size, -1).permute(2, 0, 1)[None]
        torch.testing.assert_close(
            output, expected.to(output.dtype), atol=tolerance * RANGES[name], rtol=0
        )


def require_metadata(metadata, size, classes):
    assert list(metadata['outputs']) == TASKS
    assert metadata['outputs']['semseg']['classes'] == classes
    assert np.shape(metadata['outputs']['semseg']['palette']) == (40, 3)
    assert metadata['outputs']['depth']['meaning'] == 'metres along the optical axis'
    assert metadata['input']['size'] == list(size) and metadata['input']['range'] == [0, 255]
    assert metadata['resize'] == dict(
        part_of_model=True, size=[84, 112], keep_within=1.0, max_pixels=2**21
    )
    np.testing.assert_allclose(
        metadata['normalisation']['mean'], [123.675, 116.28, 103.53], rtol=1e-6
    )
