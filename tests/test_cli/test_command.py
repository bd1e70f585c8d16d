"""What the commands share, and values that their parsers repeat from heavy modules."""

import pytest

from m2h_mm.cli import convert_data, export, model_arguments
from m2h_mm.cli.command import add_cfg_options, make_parser, read_cfg_options, select_tasks
from m2h_mm.datasets.converters import hypersim, nyud
from m2h_mm.experiments import benchmark
from m2h_mm.geometry import normal_convention
from m2h_mm.inference import export as exporting
from m2h_mm.inference import inferencer
from m2h_mm.models import pipeline
from m2h_mm.tasks import build_tasks


def test_parsers_offer_what_there_is():
    """They are built before the modules that know are imported."""
    assert model_arguments.DTYPES == tuple(inferencer.DTYPES)
    sizes = (model_arguments.TEST, model_arguments.NATIVE, model_arguments.FIT)
    assert sizes == (pipeline.TEST, pipeline.NATIVE, pipeline.FIT)
    assert export.FORMATS == tuple(exporting.SUFFIXES)
    assert list(benchmark.DTYPES) == ['fp32', 'bf16']
    assert convert_data.NYUD_CROPS == {
        name: f'{height}x{width}' for name, (height, width) in nyud.CROPS.items()
    }
    assert convert_data.NYUD_DEPTHS == tuple(nyud.DEPTHS)
    assert convert_data.HYPERSIM_SPLITS == hypersim.SPLITS
    assert convert_data.CONVENTIONS == tuple(normal_convention.CONVENTIONS)
    assert convert_data.OURS == normal_convention.OURS


def test_config_options_are_read_by_the_rules_of_mmengine(capsys):
    parser = make_parser('test', 'A test.')
    add_cfg_options(parser)
    texts = parser.parse_args(
        ['--cfg-options', 'a.b=1', 'c=[x,(1,2)]', '--cfg-options', 'd=True', 'e=b=c']
    ).cfg_options
    assert read_cfg_options(texts) == {'a.b': 1, 'c': ['x', (1, 2)], 'd': True, 'e': 'b=c'}
    assert read_cfg_options([]) == {}
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', 'lonely'])
    assert "expected KEY=VALUE, got 'lonely'" in capsys.readouterr().err


def test_tasks_keep_their_order():
    tasks = build_tasks(['semseg', 'depth', 'edge'])
    assert list(select_tasks(tasks, ['edge', 'semseg'])) == ['semseg', 'edge']
    assert select_tasks(tasks, None) == tasks
    with pytest.raises(ValueError, match=r"--tasks: the data set has \['semseg'.*got \['detph'\]"):
        select_tasks(tasks, ['edge', 'detph'])


@pytest.mark.parametrize(
    ('command', 'arguments', 'message'),
    [
        ('export', ['x.pth', '--size', '0', '14'], '--size: expected a whole number of 1 or more'),
        ('export', ['x.pth', '--repeats', '-1'], '--repeats: expected a whole number'),
        ('flops', ['x.py', '--size', '14', '2.5'], "of 1 or more, got '2.5'"),
        ('predict', ['x.png', 'x.pth', '--batch-size', '0'], '--batch-size: expected'),
        ('video', ['0', 'x.pth', '--out', 'x.mp4', '--panel-width', '0'], 'of 16 or more'),
        ('video', ['0', 'x.pth', '--out', 'x.mp4', '--max-depth', 'nan'], 'a number above 0, got'),
        ('pointcloud', ['x.png', 'x.pth', '--max-edge', '1.5'], 'above 0 and up to 1, got'),
        ('browse', ['x.py', '--split', 'val', '--no-augment'], 'has no effect'),
    ],
)
def test_numbers_that_cannot_be_and_what_has_no_effect_are_refused(
    run, command, arguments, message
):
    assert message in run(command, *arguments, status=2)


def test_options_of_parts_that_are_not_read_are_refused(run):
    said = run(
        'check-data',
        '.',
        '--config',
        'm2h_tiny_rooms',
        '--cfg-options',
        'val_dataloader.dataset.data_root=x',
        status=1,
    )
    assert '--cfg-options val_dataloader.dataset.data_root: it has no effect here' in said
