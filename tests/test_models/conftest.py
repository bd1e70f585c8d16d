"""Fixtures of the models' tests."""

import logging
from collections.abc import Callable, Iterator

import pytest
from mmengine.logging import MMLogger


@pytest.fixture
def messages() -> Iterator[Callable[[int], list[str]]]:
    """``messages(level)``: what was logged at that level since the test began."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lambda level: [r.getMessage() for r in records if r.levelno == level]
    logger.removeHandler(handler)
