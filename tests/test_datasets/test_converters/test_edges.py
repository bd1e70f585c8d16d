"""Edges from maps of ids."""

import numpy as np

from m2h_mm.datasets.converters.edges import edges_from_ids
from m2h_mm.tasks.edge.thinning import thin


def test_one_line_on_the_left_and_upper_side_of_a_border():
    ids = np.zeros((6, 8), np.int32)
    ids[:, 4:] = 70000
    edges = edges_from_ids(ids)
    assert edges.dtype == np.uint8 and set(np.unique(edges)) == {0, 255}
    assert np.argwhere(edges).tolist() == [[row, 3] for row in range(6)]
    assert np.argwhere(edges_from_ids(ids.T)).tolist() == [[3, column] for column in range(6)]


def test_any_change_of_ids_counts_and_nothing_else():
    ids = np.random.default_rng(0).integers(0, 4, (9, 12)).repeat(5, 0).repeat(5, 1)
    marked = np.zeros(ids.shape, bool)
    for row in range(ids.shape[0]):
        for column in range(ids.shape[1]):
            here = ids[row, column]
            marked[row, column] = (
                column + 1 < ids.shape[1]
                and ids[row, column + 1] != here
                or row + 1 < ids.shape[0]
                and ids[row + 1, column] != here
            )
    edges = edges_from_ids(ids)
    np.testing.assert_array_equal(edges > 0, thin(marked))
    np.testing.assert_array_equal(edges_from_ids(3 - ids.astype(np.uint8)), edges)
    assert not edges_from_ids(np.full((4, 5), 3)).any()
