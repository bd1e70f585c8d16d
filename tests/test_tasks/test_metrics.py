"""The registered metrics: samples in, pooled measures out."""

import math

import numpy as np
import pytest
import torch
from label_fields import label_field
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from m2h_mm.registry import METRICS
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Depth, Edge, Normals, Semseg, Task
from m2h_mm.tasks.depth.metric import DepthMetric
from m2h_mm.tasks.edge.metric import EdgeMetric
from m2h_mm.tasks.error_metric import ErrorMetric
from m2h_mm.tasks.normals.metric import NormalsMetric
from m2h_mm.tasks.semseg.metric import SemSegMetric

H, W, CLASSES, FRAMES = 6, 7, 4, 5
SEMSEG, DEPTH = Semseg(CLASSES), Depth()
BUILD = dict(
    semseg=lambda: SemSegMetric(SEMSEG, per_class=False),
    depth=lambda: DepthMetric(DEPTH, image_mean=['rmse']),
    normals=lambda: NormalsMetric(Normals()),
    edge=lambda: EdgeMetric(Edge(), 'mtl', num_thresholds=9),
    colour=lambda: ErrorMetric(Colour()),
)
# What stands for unknown in the maps below, for short; no metric knows it.
UNKNOWN = dict(semseg=255, depth=0, normals=0, edge=255, colour=-1)
every_task = pytest.mark.parametrize('task', list(BUILD))


class Colour(Task):
    """A task of a user, without a metric of its own. Black is a colour."""

    channels = label_channels = 3
    name = 'colour'

    def read(self, path):
        raise AssertionError('the samples here come from no files')


def maps(task):
    """A prediction and a label with a third of its pixels unknown."""
    void = torch.rand(1, H, W) < 0.33
    if task == 'semseg':
        return torch.randint(CLASSES, (1, H, W)), torch.randint(CLASSES, (1, H, W)).masked_fill(
            void, 255
        )
    if task == 'depth':
        return 1 + torch.rand(1, H, W), (1 + torch.rand(1, H, W)).masked_fill(void, 0)
    if task == 'normals':
        pred, label = (torch.nn.functional.normalize(torch.randn(3, H, W), dim=0) for _ in range(2))
        return pred, label.masked_fill(void, 0)
    if task == 'colour':
        label = torch.rand(3, H, W).masked_fill(torch.rand(1, H, W) < 0.2, 0)
        return torch.rand(3, H, W), label.masked_fill(void, -1)
    return torch.rand(1, H, W), (torch.rand(1, H, W) > 0.8).float().masked_fill(void, 255)


def sample(task, pred=None, label=None):
    made = MultiTaskDataSample()
    if pred is not None:
        made.set_field(PixelData(data=pred), f'pred_{task}')
    if label is not None:
        made.set_field(label_field(label, UNKNOWN[task]), f'gt_{task}')
    return made


def frames(task, count=FRAMES):
    torch.manual_seed(0)
    return [sample(task, *maps(task)) for _ in range(count)]


def run(metric, samples, batch_size=2):
    for start in range(0, len(samples), batch_size):
        metric.process(None, [s.to_dict() for s in samples[start : start + batch_size]])
    return metric.evaluate(len(samples))


def same(one, other):
    assert one.keys() == other.keys()
    assert list(one.values()) == pytest.approx(list(other.values()), rel=1e-12, nan_ok=True)


@every_task
def test_contract(task):
    metric = BUILD[task]()
    assert metric.task.find_in(METRICS, ErrorMetric) is type(metric) and metric.prefix == task
    result = run(metric, frames(task))
    assert all(
        name.startswith(f'{task}/') and type(value) is float and math.isfinite(value)
        for name, value in result.items()
    )


@every_task
def test_pooled_over_any_batches_and_order(task):
    samples = frames(task)
    result = run(BUILD[task](), samples)
    same(run(BUILD[task](), samples, batch_size=5), result)
    same(run(BUILD[task](), samples[::-1], batch_size=1), result)
    if task == 'edge':
        return  # in one picture, lines could be matched across the frames' borders
    joint = MultiTaskDataSample()
    for field in (f'pred_{task}', f'gt_{task}'):
        parts = [made.get(field) for made in samples]
        joined = {
            key: torch.cat([part.get(key) for part in parts], dim=2) for key in parts[0].keys()
        }
        joint.set_field(PixelData(**joined), field)
    one = run(BUILD[task](), [joint])
    same(
        {name: value for name, value in one.items() if 'image_mean' not in name},
        {name: value for name, value in result.items() if 'image_mean' not in name},
    )


@every_task
def test_samples_as_objects_and_through_the_evaluator(task):
    samples = frames(task)
    result = run(BUILD[task](), samples)
    metric = BUILD[task]()
    metric.process(None, samples)
    same(metric.evaluate(len(samples)), result)
    evaluator = Evaluator([BUILD[task]()])
    evaluator.process(samples)
    same(evaluator.evaluate(len(samples)), result)


@every_task
def test_missing_labels_are_skipped(task):
    samples = frames(task)
    unlabelled = sample(task, pred=maps(task)[0])
    same(
        run(BUILD[task](), [unlabelled, *samples[:2], unlabelled, *samples[2:], unlabelled]),
        run(BUILD[task](), samples),
    )


@every_task
def test_void_pixels_do_not_matter(task):
    samples = frames(task)
    result = run(BUILD[task](), samples)
    other = frames(task)
    for changed in other:
        label, pred = changed.get(f'gt_{task}'), changed.get(f'pred_{task}').data
        unknown = ~label.valid[0]
        pred[:, unknown] = pred[:, unknown].flip(-1)
        # Nor does what stands in the label there, as long as it is a number of the right kind.
        label.data[:, unknown] = 1
    same(run(BUILD[task](), other), result)


@every_task
@pytest.mark.parametrize('unlabelled', [True, False])
def test_nothing_valid_is_nan_with_all_keys(task, unlabelled):
    keys = run(BUILD[task](), frames(task)).keys()
    pred, label = maps(task)
    void = torch.full_like(label, UNKNOWN[task])
    result = run(BUILD[task](), [sample(task, pred, None if unlabelled else void)])
    assert result.keys() == keys and all(math.isnan(value) for value in result.values())
    assert all(math.isnan(value) for value in BUILD[task]().evaluate(0).values())


@every_task
def test_starts_afresh(task):
    metric = BUILD[task]()
    first = run(metric, frames(task, 3))
    same(run(metric, frames(task, 3)), first)


@every_task
@pytest.mark.parametrize('count, processes', [(5, 2), (4, 2), (5, 4), (2, 3), (7, 3)])
def test_distributed_equals_one_process(task, count, processes, monkeypatch):
    """Samples are dealt out in turn and repeated from the start until all have equally many; one
    has no label.
    """
    samples = frames(task, count)
    samples[1] = sample(task, pred=maps(task)[0])
    result = run(BUILD[task](), samples)
    rounds = -(-count // processes)
    padded = (samples * processes)[: rounds * processes]
    metrics = [BUILD[task]() for _ in range(processes)]
    module = 'm2h_mm.tasks.pooled_metric'
    sent = []
    for rank, metric in enumerate(metrics):
        metric.process(None, padded[rank::processes])
        monkeypatch.setattr(f'{module}.get_dist_info', lambda rank=rank: (rank, processes))
        monkeypatch.setattr(f'{module}.all_gather_object', lambda own: sent.append(own) or [own])
        metric.evaluate(count)
    monkeypatch.setattr(f'{module}.all_gather_object', lambda own: sent)
    same(BUILD[task]().evaluate(count), result)


@every_task
def test_prediction_missing_or_of_another_size_is_refused(task):
    pred, label = maps(task)
    with pytest.raises(ValueError, match=f'has gt_{task} but no pred_{task}'):
        BUILD[task]().process(None, [sample(task, label=label)])
    with pytest.raises(ValueError, match=f'pred_{task} is .* but gt_{task}'):
        BUILD[task]().process(None, [sample(task, pred[..., :-1], label)])


@every_task
def test_half_predictions(task):
    if task == 'semseg':
        pytest.skip('class ids are integers')
    samples = frames(task)
    result = run(BUILD[task](), samples)
    for made in samples:
        field = made.get(f'pred_{task}')
        field.data = field.data.half()
    half = run(BUILD[task](), samples)
    assert list(half.values()) == pytest.approx(list(result.values()), rel=5e-2)


def reference_frames(reference, task, name, channels_last=False):
    with np.load(reference / 'metrics' / 'depth_normals_seg.npz', allow_pickle=False) as data:
        pred, label = (torch.from_numpy(data[f'{name}_{what}']) for what in ('pred', 'gt'))
        expected = {key: float(value) for key, value in data.items() if value.ndim == 0}
    layout = (lambda x: x.permute(2, 0, 1)) if channels_last else (lambda x: x[None])
    return [sample(task, layout(p), layout(g)) for p, g in zip(pred, label, strict=True)], expected


def test_depth_reference(reference):
    samples, expected = reference_frames(reference, 'depth', 'depth')
    names = (
        'rmse',
        'rmse_log',
        'abs_rel',
        'sq_rel',
        'silog',
        'log10',
        'delta1',
        'delta2',
        'delta3',
    )
    result = run(DepthMetric(DEPTH, image_mean=names), samples)
    same(
        result,
        {f'depth/{name}': expected[f'depth_pooled_{name}'] for name in names}
        | {f'depth/{name}_image_mean': expected[f'depth_image_mean_{name}'] for name in names},
    )


def test_normals_reference(reference):
    samples, expected = reference_frames(reference, 'normals', 'normals', channels_last=True)
    result = run(NormalsMetric(Normals()), samples)
    assert result.pop('normals/median') == pytest.approx(expected['normals_median'], abs=1e-4)
    same(
        result,
        {
            f'normals/{name}': expected[f'normals_{name}']
            for name in ('mean', 'rmse', 'within_11_25', 'within_22_5', 'within_30')
        },
    )


@pytest.mark.parametrize('absent', ['exclude', 'zero'])
def test_semseg_reference(reference, absent):
    samples, expected = reference_frames(reference, 'semseg', 'seg_absent')
    miou = expected[
        'seg_absent_miou_present' if absent == 'exclude' else 'seg_absent_miou_absent_zero'
    ]
    same(
        run(SemSegMetric(Semseg(5), absent=absent), samples),
        {
            'semseg/mIoU': 100 * miou,
            'semseg/mAcc': 100 * expected['seg_absent_mean_acc'],
            'semseg/aAcc': 100 * expected['seg_absent_pixel_acc'],
        },
    )


def test_class_table_names_the_classes(monkeypatch):
    logged = []
    monkeypatch.setattr(
        'm2h_mm.tasks.semseg.metric.print_log', lambda text, **kwargs: logged.append(text)
    )
    metric = SemSegMetric(SEMSEG)
    metric.dataset_meta = dict(classes=('wall', 'floor', 'night stand', 'lamp'))
    run(metric, frames('semseg'))
    assert len(logged) == 1 and [
        row.split('  ')[0].strip() for row in logged[0].splitlines()[2:]
    ] == ['wall', 'floor', 'night stand', 'lamp']


def test_depth_range():
    pred, label = torch.tensor([[[0.2, 5.0, 20.0]]]), torch.tensor([[[1.0, 5.0, 12.0]]])
    result = run(DepthMetric(DEPTH, min_depth=0.5, max_depth=10.0), [sample('depth', pred, label)])
    assert result['depth/rmse'] == pytest.approx(math.sqrt(0.5**2 / 2))


def test_depth_up_to_scale():
    label = torch.tensor([[[1.0, 2.0, 4.0, 0.0]]])
    right, halved = sample('depth', label, label), sample('depth', label / 2, label)
    off = sample('depth', torch.tensor([[[2.0, 2.0, 4.0, 9.0]]]), label)
    aligned = run(DepthMetric(DEPTH, align='median'), [right, halved])
    assert aligned['depth/rmse'] == pytest.approx(0, abs=1e-6)
    assert run(DepthMetric(DEPTH), [right, halved])['depth/rmse'] > 0.8
    # Each frame has a scale of its own; the unknown pixel has no part in it.
    result = run(DepthMetric(DEPTH, align='median'), [halved, off])
    assert result['depth/rmse'] == pytest.approx(math.sqrt(1 / 6))


@pytest.mark.parametrize(
    'cls, arguments',
    [
        (DepthMetric, dict(task=DEPTH, align='mean')),
        (SemSegMetric, dict(task=SEMSEG, absent='skip')),
        (DepthMetric, dict(task=DEPTH, min_depth=3, max_depth=2)),
        (DepthMetric, dict(task=DEPTH, image_mean=['rms'])),
        (DepthMetric, dict(task=DEPTH, image_mean='rmse')),
    ],
)
def test_wrong_arguments_are_refused(cls, arguments):
    with pytest.raises(ValueError, match=f'{cls.__name__}.*expected'):
        cls(**arguments)
