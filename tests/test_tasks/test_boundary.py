"""Boundary scores against the reference values, against SciPy, and where nothing is to be found."""

import cv2
import numpy as np
import pytest
import scipy.io
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from m2h_mm.tasks.edge.boundary import (
    best_counts,
    boundary_counts,
    boundary_measures,
    precision_recall,
    segmentation_contour,
)
from m2h_mm.tasks.edge.boundary_matching import match_boundaries
from m2h_mm.tasks.edge.boundary_protocols import PRESETS
from m2h_mm.tasks.edge.suppression import edge_orientation, suppress_non_maxima
from m2h_mm.tasks.edge.thinning import thin

RNG = np.random.default_rng(0)


def load(path):
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


@pytest.fixture(scope='module')
def single(reference):
    return load(reference / 'metrics' / 'edge_single_gt.npz')


def numbered(arrays, name):
    count = sum(key.startswith(f'{name}_') and key[len(name) + 1 :].isdigit() for key in arrays)
    assert count > 0
    return [arrays[f'{name}_{index}'] for index in range(count)]


# ---- thinning
def test_thinning_equals_the_reference(reference):
    arrays = load(reference / 'metrics' / 'thin.npz')
    inputs, outputs = numbered(arrays, 'input'), numbered(arrays, 'output')
    for name, given, expected in zip(arrays['names'], inputs, outputs, strict=True):
        np.testing.assert_array_equal(thin(given), expected.astype(bool), err_msg=str(name))


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (9, 1), (40, 50)])
def test_thinning_is_idempotent_and_keeps_the_components(shape):
    mask = (
        cv2.blur(RNG.uniform(size=shape), (3, 3)) > 0.5 if min(shape) > 1 else np.ones(shape, bool)
    )
    thinned = thin(mask)
    assert thinned.any() == mask.any() and not (thinned & ~mask).any()
    np.testing.assert_array_equal(thin(thinned), thinned)
    count = [
        cv2.connectedComponents(m.astype(np.uint8), connectivity=8)[0] for m in (mask, thinned)
    ]
    assert count[0] == count[1]


# ---- suppression
def test_suppression_equals_the_reference(reference):
    arrays = load(reference / 'metrics' / 'edge_nms.npz')
    for index, given in enumerate(numbered(arrays, 'input')):
        edges, expected, stable = given / 255, arrays[f'nms_{index}'], arrays[f'stable_{index}']
        kept = suppress_non_maxima(edges)
        np.testing.assert_array_equal((kept > 0)[stable], (expected > 0)[stable])
        np.testing.assert_allclose(kept[stable], expected[stable], rtol=0, atol=1e-6)
        # Elsewhere rounding noise decides: as many pixels may differ as between float64 and
        # float32.
        assert np.count_nonzero((kept > 0) != (expected > 0)) <= 1
        turn = np.abs(edge_orientation(edges) - arrays[f'orientation_{index}'])[
            arrays[f'orientation_stable_{index}']
        ]
        assert np.minimum(turn, np.pi - turn).max() < 1e-6


def test_suppression_keeps_a_ridge_and_nothing_beside_it():
    ridge = np.exp(-0.5 * ((np.arange(40) - 20) / 2) ** 2)
    kept = suppress_non_maxima(np.tile(ridge, (30, 1)))
    assert (np.flatnonzero(kept[15]) == [20]).all()
    np.testing.assert_array_equal(np.unique(np.nonzero(kept)[1]), [20])


@pytest.mark.parametrize('shape', [(1, 1), (1, 5), (5, 1), (2, 2), (3, 2)])
def test_suppression_of_tiny_maps_is_finite(shape):
    assert np.isfinite(suppress_non_maxima(RNG.uniform(size=shape))).all()


# ---- matching
def candidate_pairs(pred, truth, radius):
    p, t = np.argwhere(pred), np.argwhere(truth)
    return ((p[:, None] - t[None]) ** 2).sum(axis=2) <= radius**2


@pytest.mark.parametrize('seed', range(40))
def test_matching_is_as_large_as_scipys(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 40, 2)
    pred, truth = (rng.uniform(size=shape) < rng.uniform(0.02, 0.6) for _ in range(2))
    if seed % 2:
        pred, truth = thin(pred), thin(truth)
    radius = rng.uniform(0, 6)
    matched_pred, matched_truth = match_boundaries(pred, truth, radius)
    assert not (matched_pred & ~pred).any() and not (matched_truth & ~truth).any()
    pairs = candidate_pairs(pred, truth, radius)
    largest = (
        np.count_nonzero(maximum_bipartite_matching(csr_matrix(pairs)) >= 0) if pairs.size else 0
    )
    assert np.count_nonzero(matched_pred) == np.count_nonzero(matched_truth) == largest
    # The matched pixels can all be paired with each other: none stands for two.
    within = candidate_pairs(matched_pred, matched_truth, radius)
    perfect = maximum_bipartite_matching(csr_matrix(within)) if within.size else np.zeros(0)
    assert (perfect >= 0).all()


def test_nearest_pixels_are_matched_first():
    pred, truth = np.zeros((2, 5, 9), bool)
    truth[2, 4] = True
    pred[2, 2] = pred[2, 5] = True
    np.testing.assert_array_equal(np.argwhere(match_boundaries(pred, truth, 3)[0]), [[2, 5]])


def test_a_long_alternating_path_is_found():
    # Nearest first pairs all but the ends; the one larger matching shifts every pair of the line by
    # one.
    pred, truth = np.zeros((2, 1, 4001), bool)
    pred[0, 0:4000:4] = True
    truth[0, 3:4000:4] = True
    truth[0, 0] = False
    assert np.count_nonzero(match_boundaries(pred, truth, 3)[0]) == 1000
    assert np.count_nonzero(match_boundaries(pred, truth, 1)[0]) == 999


def test_a_dilation_would_overstate():
    truth = np.zeros((20, 20), bool)
    truth[10, 3:17] = True
    pred = np.zeros_like(truth)
    pred[[9, 11], 3:17] = True  # every pixel is near a true one, but there are twice as many
    assert np.count_nonzero(match_boundaries(pred, truth, 2)[0]) == 14


def test_matching_refuses_maps_of_two_sizes():
    with pytest.raises(ValueError, match=r'\(3, 4\) and \(4, 3\)'):
        match_boundaries(np.zeros((3, 4)), np.zeros((4, 3)), 1)


# ---- counts and measures
TESTS = [
    f'{binarise}_{kind}_{distance}'
    for binarise in ('ge99', 'gt101')
    for kind in ('raw', 'nms')
    for distance in ('d0110', 'd0075')
] + ['gt101_nms_mapgt_d0110', 'gt101_nms_mapgt_d0075']


@pytest.mark.parametrize('test', TESTS)
def test_counts_and_scores_equal_the_reference(single, test):
    expected = {
        key.split('__')[1]: value for key, value in single.items() if key.startswith(f'{test}__')
    }
    thresholds = single['thresholds_99' if test.startswith('ge99') else 'thresholds_101']
    truths = single['gt_map' if 'mapgt' in test else 'gt'].astype(bool)
    maps = single['pred_nms'] if 'nms' in test else single['pred'] / 255
    counts = [
        boundary_counts(
            edges, [truth], thresholds, float(expected['max_dist']), strict=test.startswith('gt')
        )
        for edges, truth in zip(maps, truths, strict=True)
    ]
    for column, name in enumerate(('cnt_exact', 'sumR', 'cnt_exact', 'sumP')):
        np.testing.assert_array_equal(np.stack(counts)[..., column], expected[name], err_msg=name)
    total, best = sum(counts), sum(map(best_counts, counts))
    measures = boundary_measures(total, best)
    for name in ('ods', 'ois', 'ap'):
        assert measures[name] == pytest.approx(float(expected[f'{name}_exact']), abs=1e-12), name
    assert boundary_measures(total, best, interpolate=True)['ods'] == pytest.approx(
        float(expected['ods_interp_exact']), abs=1e-12
    )


@pytest.mark.parametrize(
    'preset, distance, test',
    [('mtl-nms', 0.011, 'gt101_nms_mapgt_d0110'), ('mtl', 0.0075, 'ge99_raw_d0075')],
)
def test_presets_prepare_maps_as_the_reference_does(single, preset, distance, test):
    protocol = PRESETS[preset]
    np.testing.assert_array_equal(
        protocol.thresholds, single['thresholds_101' if '101' in test else 'thresholds_99']
    )
    for index in range(3):
        edges = protocol.prepare_edges(single['pred'][index] / 255)
        counts = boundary_counts(
            edges,
            [single['gt_map' if 'mapgt' in test else 'gt'][index].astype(bool)],
            protocol.thresholds,
            distance,
            protocol.strict,
        )
        # Rounding noise decides over one pixel of the suppression, see above.
        atol = 1 if protocol.suppress else 0
        np.testing.assert_allclose(counts[:, 3], single[f'{test}__sumP'][index], rtol=0, atol=atol)
        np.testing.assert_allclose(
            counts[:, 0], single[f'{test}__cnt_exact'][index], rtol=0, atol=atol
        )


def test_contour_of_a_label_equals_the_reference(single):
    for truth, expected in zip(single['gt'], single['gt_map'], strict=True):
        np.testing.assert_array_equal(
            thin(segmentation_contour(255 * truth)), expected.astype(bool)
        )
    assert not segmentation_contour(np.ones((1, 1))).any()


def test_berkeleys_own_results_are_reproduced(reference):
    """Five images of BSDS500 with several annotators; the benchmark's own output to 0.001."""
    folder = reference / 'bsds_oracle'
    if not folder.is_dir():
        pytest.skip('the BSDS500 sample is not redistributed with this repository')
    total, best = 0, 0
    for path in sorted((folder / 'png').iterdir()):
        annotators = scipy.io.loadmat(folder / 'groundTruth' / f'{path.stem}.mat')['groundTruth'][0]
        truths = [annotator['Boundaries'][0, 0].astype(bool) for annotator in annotators]
        edges = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) / 255
        counts = boundary_counts(
            edges, truths, np.linspace(1 / 6, 5 / 6, 5), PRESETS['bsds'].max_dist
        )
        total, best = total + counts, best + best_counts(counts)
    measures = boundary_measures(total, best, PRESETS['bsds'].interpolate)
    _, _, _, ods, _, _, ois, ap = map(
        float, (folder / 'test_2' / 'eval_bdry.txt').read_text().split()
    )
    assert [measures[name] for name in ('ods', 'ois', 'ap')] == pytest.approx(
        [ods, ois, ap], abs=1e-3
    )


def test_degenerate_images_equal_the_reference(single):
    counts = [
        boundary_counts(
            pred / 255,
            [truth.astype(bool)],
            single['degenerate_thresholds'],
            float(single['degenerate_max_dist']),
            strict=True,
        )
        for pred, truth in zip(single['degenerate_pred'], single['degenerate_gt'], strict=True)
    ]
    np.testing.assert_array_equal(counts, single['degenerate_counts'])
    sets = dict(
        all=[0, 1, 2, 3],
        only_empty_gt=[1],
        only_empty_pred=[2],
        only_both_empty=[3],
        ordinary_and_empty_gt=[0, 1],
    )
    for name, members in sets.items():
        total = sum(counts[index] for index in members)
        measures = boundary_measures(total, sum(best_counts(counts[index]) for index in members))
        assert list(measures.values()) == pytest.approx(
            single[f'degenerate_{name}__tool'], abs=1e-12
        )
        for curve, field in zip(precision_recall(total), ('precision', 'recall'), strict=True):
            np.testing.assert_allclose(
                curve, single[f'degenerate_{name}__tool_{field}'], atol=1e-12
            )


def lines(height=60, width=80):
    truth = np.zeros((height, width), bool)
    truth[10:50, 20] = truth[30, 25:70] = True
    return truth


@pytest.mark.parametrize(
    'shift, radius, perfect', [(0, 0.5, True), (2, 2.0, True), (2, 1.9, False)]
)
def test_a_shift_within_the_radius_costs_nothing(shift, radius, perfect):
    truth = lines()
    pred = np.roll(truth, shift, axis=1) if shift else truth
    counts = boundary_counts(pred.astype(float), [truth], [0.5], radius / np.hypot(*truth.shape))
    assert (boundary_measures(counts, best_counts(counts))['ods'] == 1) == perfect


def test_equal_binary_maps_are_counted_once():
    calls = []

    def run(function, thresholds):
        calls.extend(thresholds)
        return map(function, thresholds)

    edges = np.where(lines(), 0.5, 0.0)
    counts = boundary_counts(edges, [lines()], [0.1, 0.2, 0.5, 0.6, 0.7], 0.01, run=run)
    assert len(calls) == 2
    np.testing.assert_array_equal(counts[:3], np.tile([85, 85, 85, 85], (3, 1)))
    np.testing.assert_array_equal(counts[3:], np.tile([0, 85, 0, 0], (2, 1)))


def test_annotators_are_counted_as_in_the_benchmark():
    first, second = lines(), np.zeros_like(lines())
    second[55, 5:15] = True
    counts = boundary_counts((first | second).astype(float), [first, second, first], [0.5], 0.005)
    # True pixels of all three; predicted pixels that any of them matches, once.
    np.testing.assert_array_equal(counts, [[85 + 10 + 85, 85 + 10 + 85, 95, 95]])
