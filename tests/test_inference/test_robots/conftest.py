"""A tiny model that is loaded once, for the commands and nodes of robots."""

import pytest

from m2h_mm.inference import M2HInferencer


@pytest.fixture(scope='session')
def tiny_inferencer(tiny) -> M2HInferencer:
    return M2HInferencer(tiny[1], device='cpu')


@pytest.fixture
def bag(run, tiny_inferencer, monkeypatch):
    """``bag(IN, OUT, *options, status=0)``: ``m2h-mm bag`` with the tiny model."""
    monkeypatch.setattr('m2h_mm.cli.bag.build_inferencer', lambda args, **_: tiny_inferencer)

    def command(*arguments: object, status: int = 0) -> str:
        return run('bag', *arguments, status=status)

    return command
