"""A model for the commands and nodes of robots."""

import pytest
from quick_inferencer import QuickInferencer


@pytest.fixture
def quick() -> QuickInferencer:
    return QuickInferencer()


@pytest.fixture
def bag(run, quick, monkeypatch):
    """``bag(IN, OUT, *options, status=0)``: ``m2h-mm bag``."""

    def command(*arguments: object, status: int = 0) -> str:
        monkeypatch.setattr('m2h_mm.cli.bag.build_inferencer', lambda args, **_: quick)
        return run('bag', *arguments, status=status)

    return command
