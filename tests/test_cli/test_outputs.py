"""Every command that writes files looks at what is there before it begins."""

import pytest

from m2h_mm.cli.main import COMMANDS

# Converters go on with what they have begun, and know it by a file of theirs.
OPTIONS = ('--out', '--out-dir', '--save-preds', '--rewrite', '--picture')


def test_every_command_that_writes_can_be_told_to_replace(run):
    for command in COMMANDS.keys() - {'convert-data'}:
        words = set(run(command, '--help').replace('[', ' ').replace(']', ' ').split())
        assert '--overwrite' in words or not words & {*OPTIONS}, command


def test_no_picture_comes_among_the_predictions(run, tiny, tmp_path):
    folders = ('--save-preds', tmp_path / 'p', '--show-dir', tmp_path / 'p' / 'x' / '..' / 'depth')
    said = run('test', *tiny, '--work-dir', tmp_path / 'work', *folders, status=1)
    assert '--show-dir: ' in said and 'among which pictures would be taken for some' in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'arguments',
    [
        ('export', 'a.pth', '--out', 'a.pth'),
        ('export', 'a.onnx'),
        ('pointcloud', 'a.png', 'a.pth', '--out', 'a.png'),
        ('pointcloud', 'a.png', 'a.pth', '--out', 'new.ply', '--picture', 'link.png'),
        ('video', 'a.png', 'a.pth', '--out', 'a.png'),
        ('convert-checkpoint', 'invpt', 'a.pth', 'a.pth'),
        ('convert-checkpoint', 'm2h', 'a.pth', 'a.py', '--config', 'a.py'),
        ('flops', 'a.py', '--out', 'a.py'),
        ('benchmark', 'a.py', '--out', 'new.json', '--plot', 'a.py'),
        ('test', 'a.py', 'a.pth', '--out', 'a.pth'),
        ('eval-preds', '.', '.', '--config', 'a.py', '--out', 'a.py'),
    ],
)
def test_no_command_begins_with_its_input_as_output(run, tmp_path, arguments):
    """None of these files could be read: nobody tries."""
    names = ('a.pth', 'a.onnx', 'a.png', 'a.py')
    for name in names:
        (tmp_path / name).write_text(name)
    (tmp_path / 'link.png').symlink_to('a.png')
    said = run(*arguments, '--overwrite', status=1)
    assert 'is read by this command' in said and 'Traceback' not in said
    assert [(tmp_path / name).read_text() for name in names] == list(names)
    assert len(list(tmp_path.iterdir())) == len(names) + 1
