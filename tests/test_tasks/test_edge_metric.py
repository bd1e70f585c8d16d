"""EdgeMetric: from probabilities to odsF."""

import math

import cv2
import numpy as np
import pytest
import torch
from label_fields import label_field, label_of
from mmengine.structures import PixelData

from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Edge
from m2h_mm.tasks.edge.boundary import boundary_measures
from m2h_mm.tasks.edge.metric import EdgeMetric


def sample(pred, label):
    made = MultiTaskDataSample()
    made.set_field(PixelData(data=torch.as_tensor(pred)[None]), 'pred_edge')
    made.set_field(label_field(torch.as_tensor(label)[None], 255), 'gt_edge')
    return made.to_dict()


def score(metric, pairs):
    for pair in pairs:
        metric.process(None, [sample(*pair)])
    return metric.evaluate(len(pairs))


def drawing(seed, height=120, width=160, noise=0.3):
    """Random strokes, and a soft, displaced and cluttered prediction of them."""
    rng = np.random.default_rng(seed)
    label = np.zeros((height, width), np.uint8)
    for _ in range(12):
        (x0, y0), (x1, y1) = rng.integers(0, (width, height), (2, 2)).tolist()
        cv2.line(label, (x0, y0), (x1, y1), 1)
    moved = np.roll(label, rng.integers(-2, 3, 2), (0, 1)).astype(np.float32)
    moved[:, : width // 4] *= 0.4
    clutter = cv2.GaussianBlur(rng.normal(size=label.shape), (0, 0), 2)
    pred = 2 * cv2.GaussianBlur(moved, (0, 0), 1) + noise * clutter / clutter.std()
    return np.clip(pred, 0, 1).astype(np.float32), label


@pytest.fixture(scope='module')
def drawings():
    return [drawing(seed) for seed in range(4)]


@pytest.mark.parametrize('preset', ['bsds', 'mtl', 'mtl-nms'])
def test_truth_as_prediction_is_perfect(preset):
    label = np.zeros((40, 60), np.uint8)
    label[20, 8:50] = 1
    measures = score(EdgeMetric(Edge(), preset), [(label.astype(np.float32), label)])
    assert list(measures) == ['edge/odsF', 'edge/oisF', 'edge/AP']
    assert measures['edge/odsF'] == measures['edge/oisF'] == 100


def test_the_whole_protocol_equals_the_reference(reference):
    with np.load(reference / 'metrics' / 'edge_single_gt.npz', allow_pickle=False) as data:
        pairs = [
            (pred.astype(np.float32) / 255, truth)
            for pred, truth in zip(data['pred'], data['gt'], strict=True)
        ]
        expected = [
            100 * float(data[f'gt101_nms_mapgt_d0110__{name}_exact'])
            for name in ('ods', 'ois', 'ap')
        ]
    measures = score(EdgeMetric(Edge(), 'mtl-nms', max_dist=0.011, truth='contour'), pairs)
    # Rounding noise decides over one pixel of the suppression, which one recall of the AP curve
    # shows.
    assert list(measures.values()) == pytest.approx(expected, abs=1e-4)


def test_threads_change_nothing(drawings):
    assert score(EdgeMetric(Edge(), num_threads=1), drawings) == score(
        EdgeMetric(Edge(), num_threads=5), drawings
    )


@pytest.mark.parametrize('preset', ['bsds', 'mtl', 'mtl-nms'])
def test_fewer_thresholds_are_never_better_and_hardly_worse(preset, drawings):
    exact = score(EdgeMetric(Edge(), preset), drawings)
    fast = score(EdgeMetric(Edge(), preset, num_thresholds=11), drawings)
    # Interpolation between distant thresholds may overshoot the exact curve a little.
    assert -1.0 < fast['edge/odsF'] - exact['edge/odsF'] <= (0.1 if preset == 'bsds' else 0)
    assert -2.0 < fast['edge/oisF'] - exact['edge/oisF'] <= 0


def test_rounding_to_8_bits_comes_first(drawings):
    pred, label = drawings[0]
    stored = np.rint(pred * 255).astype(np.uint8).astype(np.float32) / 255
    assert score(EdgeMetric(Edge()), [(pred, label)]) == score(
        EdgeMetric(Edge()), [(stored, label)]
    )


def test_void_pixels_are_neither_true_nor_predicted(drawings):
    pred, label = drawings[0]
    void = label.copy()
    void[:, 80:] = 255
    cleared, empty = pred.copy(), label.copy()
    empty[:, 80:] = 0
    noisy = pred.copy()
    noisy[60:, 90:] = 1 - noisy[60:, 90:]
    metric = EdgeMetric(Edge(), 'mtl')
    cleared[:, 80:] = 0
    assert (
        score(metric, [(pred, void)])
        == score(metric, [(noisy, void)])
        == score(metric, [(cleared, empty)])
    )


@pytest.mark.parametrize(
    'pred, label',
    [
        (np.zeros((20, 30)), np.zeros((20, 30))),
        (np.ones((20, 30)), np.zeros((20, 30))),
        (np.zeros((20, 30)), np.eye(20, 30)),
        (np.ones((1, 1)), np.ones((1, 1))),
        (np.zeros((1, 1)), np.zeros((1, 1))),
    ],
)
@pytest.mark.parametrize('preset', ['bsds', 'mtl', 'mtl-nms'])
def test_nothing_to_find_or_nothing_found_gives_numbers(preset, pred, label):
    measures = score(
        EdgeMetric(Edge(), preset), [(pred.astype(np.float32), label.astype(np.uint8))]
    )
    assert all(math.isfinite(value) for value in measures.values())


def test_without_a_valid_pixel_it_is_nan():
    measures = score(
        EdgeMetric(Edge()), [(np.zeros((5, 5), np.float32), np.full((5, 5), 255, np.uint8))]
    )
    assert all(math.isnan(value) for value in measures.values())


@pytest.mark.parametrize('preset', ['bsds', 'mtl', 'mtl-nms'])
@pytest.mark.parametrize('truth', ['edges', 'contour'])
def test_a_data_set_without_edges_has_all_keys(preset, truth):
    measures = EdgeMetric(Edge(), preset, truth=truth).evaluate(3)
    assert list(measures) == ['edge/odsF', 'edge/oisF', 'edge/AP']
    assert all(math.isnan(value) for value in measures.values())


def test_only_counts_are_kept(drawings):
    metric = EdgeMetric(Edge())
    sizes = []
    for pred, label in drawings:
        metric.process(None, [sample(pred, label)])
        sizes.append(sum(value.numel() for value in metric._last.values()))
    assert set(sizes) == {101 * 4 + 4 + 1}


def test_ods_comes_from_sums_not_from_means(drawings):
    metric = EdgeMetric(Edge(), 'mtl')
    parts = [
        metric.statistics(torch.as_tensor(pred)[None], label_of(torch.as_tensor(label)[None]))
        for pred, label in drawings
    ]
    counts, best = (sum(part[name] for part in parts).numpy() for name in ('thresholds', 'best'))
    assert score(metric, drawings)['edge/odsF'] == 100 * boundary_measures(counts, best)['ods']


def test_the_protocol_is_told():
    told = EdgeMetric(Edge(), 'mtl-nms', max_dist=0.011, truth='contour', num_thresholds=9).protocol
    for part in ('mtl-nms', '9 thresholds', '>', 'NMS', '0.011', 'contour'):
        assert part in told


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(preset='mtl-mns'), "one of.*'bsds'.*got 'mtl-mns'"),
        (dict(max_dist=8), 'share of the diagonal.*got 8'),
        (dict(truth='labels'), "'contour'.*got 'labels'"),
        (dict(num_thresholds=0), r'1\.\.101.*got 0'),
        (dict(preset='mtl', num_thresholds=100), r'1\.\.99'),
        (dict(num_threads=0), 'num_threads.*got 0'),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        EdgeMetric(Edge(), **arguments)
