"""Figures of Matplotlib as files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.system import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: str | Path, dpi: int = 150) -> None:
    """Write a figure; the file is whole or not there, and its folder is made.

    Args:
        figure: any.
        path: its ending says of which kind the file is.
        dpi: pixels per inch, where it has pixels.

    Raises:
        OSError: see :func:`~m2h_mm.system.files.write_atomically`.
        ValueError: Matplotlib writes no such files.
    """
    path, content = Path(path), io.BytesIO()
    figure.savefig(content, format=path.suffix[1:] or 'png', dpi=dpi)
    write_atomically(path, content.getvalue())
