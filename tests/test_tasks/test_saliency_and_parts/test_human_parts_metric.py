"""The metric of human parts."""

import math

import pytest
from label_fields import label_field

from m2h_mm.tasks import HumanParts, Semseg
from m2h_mm.tasks.human_parts.metric import HumanPartsMetric
from m2h_mm.tasks.semseg.metric import SemSegMetric

from .conftest import frames, image, run, same


def slow_miou(pairs):
    ious = []
    for index in range(7):
        both = either = 0
        for pred, label in pairs:
            valid = label != 255
            if not ((label > 0) & valid).any():
                continue
            both += int(((pred == index) & (label == index) & valid).sum())
            either += int((((pred == index) | (label == index)) & valid).sum())
        if either:
            ious.append(both / either)
    return 100 * sum(ious) / len(ious)


@pytest.mark.parametrize('empty', [[0, 0, 0], [0, 255, 255], [255, 255, 255]])
def test_frames_without_people_count_in_no_metric(empty):
    pairs = frames('human_parts')
    result = run('human_parts', pairs)
    assert result['human_parts/mIoU'] == pytest.approx(slow_miou(pairs), rel=1e-12)
    for prediction in ([0, 0, 0], [1, 2, 6]):
        nobody = image(prediction, empty)
        same(run('human_parts', [nobody, *pairs, nobody]), result)
        assert all(map(math.isnan, run('human_parts', [nobody]).values()))


def test_background_counts_where_somebody_is():
    right, wrong = (
        run('human_parts', [image(pred, [0, 0, 0, 1])]) for pred in ([0, 0, 0, 1], [2, 2, 0, 1])
    )
    assert right['human_parts/mIoU'] == 100
    assert wrong['human_parts/mIoU'] == pytest.approx(100 * (1 / 3 + 1 + 0) / 3)


def test_a_constant_prediction_of_background():
    result = run('human_parts', [image([0] * 4, [0, 0, 3, 255])])
    assert result['human_parts/mIoU'] == pytest.approx(100 * (2 / 3) / 2)


def test_where_everybody_is_seen_it_is_the_metric_of_semseg():
    pairs, semseg = frames('human_parts'), SemSegMetric(Semseg(7), per_class=False)
    for pred, label in pairs:
        fields = dict(pred_semseg=dict(data=pred), gt_semseg=label_field(label, 255))
        semseg.process(None, [fields])
    expected = {
        name.replace('semseg', 'human_parts'): value
        for name, value in semseg.evaluate(len(pairs)).items()
    }
    same(run('human_parts', pairs), expected)


def test_the_table_names_the_parts_not_the_data_sets_classes(monkeypatch):
    said = []
    monkeypatch.setattr('m2h_mm.tasks.semseg.metric.print_log', lambda text, **_: said.append(text))
    metric = HumanPartsMetric(HumanParts())
    metric.dataset_meta = dict(classes=[f'thing {index}' for index in range(7)])
    run('human_parts', frames('human_parts'), metric=metric)
    rows = said[0].splitlines()
    assert len(rows) == 2 + 7 and 'thing' not in said[0]
    assert [row.split('  ')[0] for row in rows[2:]] == list(HumanParts().classes)


def test_another_number_of_parts():
    metric = HumanPartsMetric(HumanParts(3), per_class=True)
    assert (
        run('human_parts', [image([0, 1, 2], [0, 1, 2])], metric=metric)['human_parts/mIoU'] == 100
    )
    with pytest.raises(ValueError, match='num_classes'):
        run('human_parts', [image([3], [1])], metric=HumanPartsMetric(HumanParts(3)))
    with pytest.raises(ValueError, match="expected 'exclude' or 'zero'"):
        HumanPartsMetric(HumanParts(), absent='none')
