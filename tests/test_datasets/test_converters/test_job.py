"""Converting frame by frame, whatever the data set."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from full_disk import full_disk
from process_list import all_end, children, needs_proc

from m2h_mm.datasets.converters import job
from m2h_mm.datasets.converters.job import SourceFrame, convert_frames
from m2h_mm.tasks.files import read_array


def convert(log: Path, source: Path) -> dict:
    """A toy converter: notes that it was called, and fails as a real one does on a file that is cut
    off.
    """
    with open(log, 'a') as file:
        file.write(f'{source.stem}\n')
    if source.stat().st_size < 3:
        raise ValueError(f'{source} is cut off.')
    return dict(
        images=source,
        depth=np.full((20, 30), float(source.stem[-1]), np.float32),
        edge=np.eye(3, dtype=np.uint8),
    )


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / 'source'
    folder.mkdir()
    for number in range(4):
        (folder / f'f{number}.jpg').write_bytes(b'jpeg')
    return folder


@pytest.fixture
def run(tmp_path, source):
    """``run()``: converts, and returns the frames for which the converter was called."""
    log = tmp_path / 'log'

    def run(**options) -> list[str]:
        log.write_text('')
        frames = [
            SourceFrame(
                path.stem, 'val' if path.stem == 'f3' else 'train', path, (1.0, 2.0, 3.0, 4.0)
            )
            for path in sorted(source.glob('*.jpg'))
        ]
        arguments = dict(
            out_dir=tmp_path / 'out', source_root=source, settings=dict(size=[2, 3]), num_workers=0
        )
        convert_frames(frames, partial(convert, log), **{**arguments, **options})
        return log.read_text().split()

    return run


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()} - {
        '.lock'
    }


@pytest.mark.parametrize('num_workers', [0, 2])
def test_all_files_lists_and_cameras_are_written(run, tmp_path, source, num_workers):
    run(num_workers=num_workers)
    out = tmp_path / 'out'
    assert files(out) == {
        'converter.json',
        'cameras.json',
        'gt_sets/train.txt',
        'gt_sets/val.txt',
        *(
            f'{name}/f{number}{suffix}'
            for number in range(4)
            for name, suffix in (('images', '.jpg'), ('depth', '.npy'), ('edge', '.png'))
        ),
    }
    assert (out / 'images' / 'f1.jpg').read_bytes() == b'jpeg'
    assert (read_array(out / 'depth' / 'f2.npy') == 2).all()
    assert (out / 'gt_sets' / 'train.txt').read_text() == 'f0\nf1\nf2\n'
    assert json.loads((out / 'cameras.json').read_text())['f3'] == [1, 2, 3, 4]


def test_a_second_call_does_nothing_and_a_removed_frame_is_made_again(run, tmp_path):
    assert run() == ['f0', 'f1', 'f2', 'f3']
    assert run() == []
    (tmp_path / 'out' / 'images' / 'f2.jpg').unlink()
    assert run() == ['f2']


def test_a_bad_source_file_is_named_and_the_others_are_kept(run, tmp_path, source):
    (source / 'f1.jpg').write_bytes(b'')
    with pytest.raises(
        ValueError, match=r'1 frames cannot be converted:\n  f1: .*f1.jpg is cut off'
    ):
        run()
    out = tmp_path / 'out'
    assert not (out / 'gt_sets').exists() and not (out / 'depth' / 'f1.npy').exists()
    (source / 'f1.jpg').write_bytes(b'jpeg')
    assert run() == ['f1']
    assert (out / 'gt_sets' / 'train.txt').read_text() == 'f0\nf1\nf2\n'


def test_frames_that_cannot_be_converted_may_be_left_out(run, tmp_path, source, capsys):
    (source / 'f1.jpg').write_bytes(b'')
    run(allow_missing=True)
    assert (tmp_path / 'out' / 'gt_sets' / 'train.txt').read_text() == 'f0\nf2\n'
    assert 'f1.jpg is cut off' in capsys.readouterr().out


def test_a_full_disk_stops_the_run_and_leaves_no_part_of_a_file(run, tmp_path, monkeypatch):
    def fail(source, target):
        if target.endswith('f1.png'):
            raise OSError(28, 'No space left on device')
        replace(source, target)

    replace = os.replace
    monkeypatch.setattr(os, 'replace', lambda source, target: fail(source, str(target)))
    with pytest.raises(OSError, match='No space left'):
        run()
    assert files(tmp_path / 'out') == {
        'converter.json',
        'depth/f0.npy',
        'edge/f0.png',
        'images/f0.jpg',
        'depth/f1.npy',
    }
    monkeypatch.undo()
    assert run() == ['f1', 'f2', 'f3']


@pytest.mark.parametrize('name', ['images/f1.jpg', 'edge/f1.png'])
def test_an_empty_file_is_not_finished(run, tmp_path, name):
    run()
    os.truncate(tmp_path / 'out' / name, 0)
    assert run() == ['f1'] and (tmp_path / 'out' / name).stat().st_size
    assert run() == []


def test_a_full_disk_is_named_also_by_a_worker(run, tmp_path, monkeypatch):
    # In a thread: starting a process takes seconds.
    monkeypatch.setattr(job, 'ProcessPoolExecutor', lambda number, *_: ThreadPoolExecutor(number))
    with full_disk(2000), pytest.raises(OSError, match='npy .* could not be written.*are kept'):
        run(num_workers=1)
    assert not (tmp_path / 'out' / 'gt_sets').exists()


SCRIPT = """
import sys
from pathlib import Path
from test_job import convert_for_ever
from m2h_mm.datasets.converters.job import SourceFrame, convert_frames
if __name__ == '__main__':
    source, out = map(Path, sys.argv[1:])
    frames = [SourceFrame(path.stem, 'train', path) for path in sorted(source.glob('*.jpg'))]
    convert_frames(frames, convert_for_ever, out, source, dict(size=[2, 3]), num_workers=2)
"""


def convert_for_ever(source: Path) -> dict:
    """The first two frames are converted, and no other before the test is over."""
    if source.stem > 'f1':
        time.sleep(600)
    return convert(source.with_name('log'), source)


@needs_proc
def test_workers_end_with_the_converter_and_the_next_run_goes_on(run, tmp_path, source):
    out, script = tmp_path / 'out', tmp_path / 'script.py'
    script.write_text(SCRIPT)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, script, source, out], env=dict(os.environ, PYTHONPATH=path)
    )
    while len(list((out / 'images').glob('*.jpg'))) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2 and all_end(workers)
    assert run() == ['f2', 'f3']
    run(out_dir=tmp_path / 'in_one_go')
    assert {name: (out / name).read_bytes() for name in files(out)} == {
        name: (tmp_path / 'in_one_go' / name).read_bytes() for name in files(out)
    }


def test_what_a_killed_run_was_writing_is_removed(run, tmp_path):
    stray = tmp_path / 'out' / 'depth' / 'f0.npy.123.tmp'
    run()
    stray.write_bytes(b'half')
    run()
    assert not stray.exists()


def test_other_settings_and_other_folders_are_refused(run, tmp_path, source):
    run()
    with pytest.raises(ValueError, match=r'size = \[2, 3\], now \[4, 6\]'):
        run(settings=dict(size=[4, 6]))
    with pytest.raises(ValueError, match='official download, which is only read'):
        run(out_dir=source / 'converted')
    for name in ('images/mine.png', 'depth/mine.png', 'gt_sets/train.txt', 'cameras.json'):
        other = tmp_path / name.replace('/', '_')
        (other / name).parent.mkdir(parents=True)
        (other / name).write_text('{}')
        with pytest.raises(ValueError, match=f'has {name.split("/")[0]} .*made by something else'):
            run(out_dir=other)
        assert [path.name for path in other.iterdir() if path.name[0] != '.'] == [
            name.split('/')[0]
        ]
    with pytest.raises(ValueError, match='occurs twice'):
        convert_frames(
            [SourceFrame('a', 'train', source)] * 2, convert, tmp_path / 'new', source, {}
        )


@pytest.mark.parametrize(
    ('frame', 'reason'),
    [
        (SourceFrame('../f0', 'train', None), "contains '..'"),
        (SourceFrame('/etc/f0', 'train', None), 'an absolute path'),
        (SourceFrame('f0', '../../train', None), "contains '..'"),
        (SourceFrame('f0', 'train', None, (float('nan'), 1.0, 2.0, 3.0)), "Frame 'f0': camera"),
    ],
)
def test_what_a_table_says_is_checked_before_anything_is_written(tmp_path, frame, reason):
    with pytest.raises(ValueError, match=reason):
        convert_frames([frame], None, tmp_path / 'out', tmp_path / 'source', {})
    assert not (tmp_path / 'out').exists()


def test_damaged_settings_are_a_message_and_foreign_files_are_kept(run, tmp_path):
    run()
    (tmp_path / 'out' / 'depth' / 'mine.tmp').touch()
    run()
    assert (tmp_path / 'out' / 'depth' / 'mine.tmp').exists()
    (tmp_path / 'out' / 'converter.json').write_text('{')
    with pytest.raises(ValueError, match=r'converter\.json cannot be read.*another folder'):
        run()
