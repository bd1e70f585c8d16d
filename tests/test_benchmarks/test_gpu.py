"""The measurements of a GPU, in miniature on the CPU."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
import speed_costs


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, 'argv', ['gpu.py', *map(str, arguments)])
        runpy.run_path(str(Path(gpu.__file__)), run_name='__main__')
        return capsys.readouterr().out

    return run


def test_it_measures_writes_and_goes_on(run, tmp_path, monkeypatch):
    limits = dict.fromkeys(('product', 'copy'), (int, 1))
    monkeypatch.setattr(speed_costs, 'machine_limits', lambda *_: limits)

    def here(command: list[str], **_: object) -> subprocess.CompletedProcess:
        monkeypatch.setattr(sys, 'argv', command[1:])
        monkeypatch.chdir(tmp_path)
        runpy.run_path(command[1], run_name='__main__')
        return subprocess.CompletedProcess(command, 0)

    options = ('--miniature', '--out-dir', tmp_path, '--only', 'forward')
    monkeypatch.setattr(subprocess, 'run', here)
    assert 'forward: done' in run(*options)
    report = json.loads((tmp_path / 'gpu.json').read_text())
    (cell,) = report['cells'].values()
    assert report['parts'] == dict(forward='done') and 'torch' in report['versions']
    assert set(cell['contenders']) == {'plain', 'optimized+bf16'}
    assert (tmp_path / 'gpu.md').read_text().count('m2h_small_tiny') == 2
    assert (tmp_path / 'gpu.png').stat().st_size > 1000
    assert ': measured' not in run(*options)  # it is kept
    assert json.loads((tmp_path / 'gpu.json').read_text())['cells'] == report['cells']


def test_a_part_that_fails_or_takes_too_long_does_not_end_the_rest(tmp_path):
    def state(code: str, seconds: float) -> str:
        return gpu.run(gpu.Part('part', ['-c', code], 1.0), tmp_path, seconds)

    assert state('raise SystemExit(3)', 20) == 'failed (3), see part.log'
    assert state('import time; time.sleep(60)', 0.2) == 'out of time'
    assert state('print("said")', 20) == 'done'
    assert 'said' in (tmp_path / 'part.log').read_text()


@pytest.mark.parametrize('options', [('--only', 'nothing'), ('--seconds', '0')])
def test_wrong_options_are_refused(run, options):
    with pytest.raises(SystemExit):
        run(*options)
