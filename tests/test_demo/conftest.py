"""Programs in demo/, run as a user runs them."""

import runpy
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / 'demo'


@pytest.fixture
def run(monkeypatch, capsys):
    """``run(program, *arguments)``: exit status, and what it printed."""

    def run(program: str, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, 'argv', [program, *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(str(DEMO / program), run_name='__main__')
        except SystemExit as stopped:
            status = stopped.code or 0
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run
