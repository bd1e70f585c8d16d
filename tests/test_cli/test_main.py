"""The program m2h-mm: its list of commands, and how little is imported to show it."""

import json
import subprocess
import sys

import pytest

from m2h_mm.cli.main import COMMANDS, main

# What takes long to import, and must wait until the arguments are known to be right.
HEAVY = ('torch', 'numpy', 'cv2', 'matplotlib', 'mmengine', 'mmcv', 'mmseg', 'rich', 'scipy', 'PIL')
SHOW_ALL = """
import contextlib, io, json, sys
import m2h_mm
seen = {'import m2h_mm': sorted(sys.modules)}
from m2h_mm.cli.main import COMMANDS, main
for command in ['', *COMMANDS]:
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main([command, '--help'] if command else ['--help'])
        except SystemExit:
            pass
    seen[command or 'm2h-mm'] = sorted(sys.modules)
print(json.dumps(seen))
"""


@pytest.fixture(scope='module')
def imported() -> dict[str, list[str]]:
    """By step, all modules that were imported until then, in one process for all commands."""
    shown = subprocess.run(
        [sys.executable, '-c', SHOW_ALL], capture_output=True, text=True, check=True
    )
    return json.loads(shown.stdout)


@pytest.mark.parametrize('step', ['import m2h_mm', 'm2h-mm', *COMMANDS])
def test_help_imports_nothing_heavy(imported, step):
    assert not {name.split('.')[0] for name in imported[step]} & set(HEAVY)


def test_every_command_has_a_line(capsys):
    assert main(['--help']) == 0
    said = capsys.readouterr().out
    lines = [line.split(maxsplit=1) for line in said.splitlines() if line.startswith('  ')]
    assert [name for name, _ in lines] == list(COMMANDS)
    assert all(line.endswith('.') and ' ' in line for _, line in lines)
    assert main([]) == 0 and capsys.readouterr().out == said


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_says_how_it_is_called(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, '--help'])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: m2h-mm {command} ')


def test_a_command_that_is_none(capsys):
    assert main(['trian', 'config.py']) == 2
    assert "there is no command 'trian'; did you mean 'train'?" in capsys.readouterr().err
    assert main(['xyz']) == 2
    assert 'there are train, test, ' in capsys.readouterr().err
