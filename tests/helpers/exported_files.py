"""What a file exported from the tiny M2H must hold, whatever its format."""

import numpy as np
import torch

TASKS = ['semseg', 'depth', 'normals', 'edge']
RANGES = dict(semseg=0, depth=10, normals=2, edge=1)


# Of the range of the values. Another program adds up in another order: with random weights that
# makes up to 7e-6 of a unit vector, which may have been short before. An image that is resized,
# padded or normalised in another way makes 1e-2 and more. The bound lies in between.
OF_ANOTHER_PROGRAM = 1e-4


def require_same(outputs, maps, size, tolerance):
    """Within ``tolerance`` of the range of the values; of class ids at most one in a thousand
    differs: two scores may be the same but for the order of sums.
    """
    for name, output in zip(TASKS, outputs, strict=True):
        expected = torch.from_numpy(maps[name]).reshape(*size, -1).permute(2, 0, 1)[None]
        if not output.is_floating_point():
            assert (output != expected).float().mean() < 1e-3, name
            continue
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
