"""The scripts in tools/ and demo/ are commands, under the names that they have always had."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from m2h_mm.cli.main import COMMANDS

from .conftest import REPOSITORY

SCRIPTS = sorted(
    str(path.relative_to(REPOSITORY))
    for folder in ('tools', 'demo')
    for path in (REPOSITORY / folder).rglob('*.py')
    if path.name != 'run_onnx.py'  # stands alone, without this package
)


@pytest.mark.parametrize('script', SCRIPTS)
def test_a_script_is_a_command(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [script, '--help'])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(REPOSITORY / script), run_name='__main__')
    assert stopped.value.code == 0
    usage, program, command, *_ = capsys.readouterr().out.split()
    assert (usage, program) == ('usage:', 'm2h-mm') and command in COMMANDS
    named = (REPOSITORY / script).read_text().partition('m2h-mm ')[2]
    assert named.startswith(command), 'the docstring names the command'


@pytest.mark.parametrize(
    'program',
    [[str(REPOSITORY / 'tools' / 'misc' / 'print_config.py')], ['-m', 'm2h_mm', 'print-config']],
)
def test_a_script_runs_from_any_folder(program, tmp_path):
    environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, *program, 'm2h_tiny_rooms', '--cfg-options', 'train_cfg.max_iters=7'],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and 'max_iters=7' in done.stdout, done.stderr
    assert not list(Path(tmp_path).iterdir())
