"""The content of a ``results.json``: the metrics, and what they are the metrics of."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmengine.evaluator import Evaluator

from m2h_mm.system import write_atomically

PACKAGES = ('m2h_mm', 'torch', 'numpy', 'mmengine', 'mmcv', 'mmseg')
_CHUNK = 1 << 20


def build_report(
    metrics: Mapping[str, float], evaluator: Evaluator, num_frames: int, **more: Any
) -> dict[str, Any]:
    """The content of a ``results.json``.

    Args:
        metrics: name to value.
        evaluator: what computed them; if it has a ``protocol()``, that says how.
        num_frames: frames that were evaluated.
        **more: what was evaluated: config, checkpoint, ...

    Returns:
        ``metrics``, what is in ``more``, ``protocol``, ``num_frames``, ``versions`` of Python and
        of the packages (null where one is not installed), and ``date`` (UTC, ISO 8601).
    """
    protocol = getattr(evaluator, 'protocol', dict)
    return dict(
        metrics=dict(metrics),
        **more,
        protocol=protocol(),
        num_frames=num_frames,
        versions=versions(),
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
    )


def write_report(path: str | Path, report: Mapping[str, Any]) -> None:
    """Write a report as JSON, whole or not at all; NaN and infinities become null, which JSON has
    no other word for.
    """
    write_atomically(
        path, json.dumps(_finite(report), indent=2, allow_nan=False, default=str) + '\n'
    )


def describe_checkpoint(path: str | Path) -> dict[str, str]:
    """``checkpoint``, the absolute path, and ``checkpoint_sha256`` of its bytes."""
    path = Path(path).resolve()
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return dict(checkpoint=str(path), checkpoint_sha256=digest.hexdigest())


def versions() -> dict[str, str | None]:
    """Of Python and the packages that a metric depends on."""
    found: dict[str, str | None] = dict(python=platform.python_version())
    for name in PACKAGES:
        try:
            found[name] = str(importlib.import_module(name).__version__)
        except ImportError:
            found[name] = None
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, 'item') and getattr(value, 'ndim', None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
