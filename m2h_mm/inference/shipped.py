"""The model that comes with the package, for whoever names none."""

from __future__ import annotations

from pathlib import Path

from mmengine.logging import print_log

import m2h_mm

from .publishing import read_published

SHIPPED = Path(m2h_mm.__file__).parent / 'pretrained' / 'm2h_edge.safetensors'


def shipped_model() -> Path:
    """Its file, made by ``m2h-mm publish``. A line in the log says what it was trained on.

    Raises:
        FileNotFoundError: this installation has none.
    """
    if not SHIPPED.is_file():
        raise FileNotFoundError(
            f'This installation of m2h_mm has no model of its own ({SHIPPED} is missing): name a '
            'checkpoint.'
        )
    facts = read_published(SHIPPED)
    print_log(
        f'No checkpoint is named: taken is {facts.get("name", SHIPPED.stem)}, which comes with '
        f'm2h_mm ({SHIPPED.name}), trained on {facts.get("trained_on", "unknown data")}.',
        'current',
    )
    return SHIPPED
