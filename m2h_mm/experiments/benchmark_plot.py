"""Time against image area as a picture, with the exponent that fits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from m2h_mm.experiments.figures import save_figure


def fitted_exponent(areas: Sequence[float], times: Sequence[float]) -> float | None:
    """p of times ~ areas^p by least squares of the logarithms; None for fewer than two different
    areas.
    """
    if len(set(areas)) < 2:
        return None
    return float(np.polyfit(np.log(areas), np.log(times), 1)[0])


def draw(rows: Sequence[Mapping[str, Any]], title: str, path: str) -> None:
    """Time per image against image area, one line per config and batch size."""
    figure = Figure(figsize=(8, 5.5), layout='constrained')
    axes = figure.add_subplot(
        xscale='log',
        yscale='log',
        xlabel='image area (pixels)',
        ylabel='time per image (ms)',
        title=title,
    )
    names = list(dict.fromkeys(row['config'] for row in rows))
    batch_sizes = sorted({row['batch_size'] for row in rows})
    for name in names:
        for batch_size in batch_sizes:
            points = sorted(
                (row['size'][0] * row['size'][1], 1e3 / row['images_per_s'])
                for row in rows
                if (row['config'], row['batch_size']) == (name, batch_size)
                and not row['out_of_memory']
            )
            if not points:
                continue
            areas, times = zip(*points, strict=True)
            exponent = fitted_exponent(areas, times)
            label = f'{name}, batch {batch_size}' if len(batch_sizes) > 1 else name
            axes.plot(
                areas,
                times,
                color=f'C{names.index(name)}',
                marker='os^Dv'[batch_sizes.index(batch_size) % 5],
                linestyle=('-', '--', ':', '-.')[batch_sizes.index(batch_size) % 4],
                label=label if exponent is None else f'{label}: time ~ area^{exponent:.2f}',
            )
    axes.grid(which='both', alpha=0.3)
    axes.legend(fontsize='small')
    save_figure(figure, path)
