"""Plot of a sweep: multi-task gain against latency."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from m2h_mm.experiments.figures import save_figure
from m2h_mm.experiments.sweep_report import GAIN
from m2h_mm.experiments.sweep_spec import SINGLE_TASK

MARKERS = 'osD^vP*X<>hp'
# From here on the latencies are drawn on a logarithmic axis.
WIDE_RANGE = 8


def plot_gain(path: Path, summary: Mapping[str, Any]) -> bool:
    """Draw the multi-task gain against the latency, one point per variant, with its standard
    deviation over seeds.

    The names are in a legend beside the axes, in the order of the latencies, so that they never
    overlap.

    Args:
        path: of the PNG.
        summary: see :func:`~m2h_mm.experiments.sweep_report.summarise_sweep`.

    Returns:
        Whether there was anything to draw: a row with a gain and a latency.
    """
    points = {
        name: (1e3 * row['costs']['latency'], row['cells'][GAIN]['mean'], row['cells'][GAIN]['std'])
        for name, row in summary['rows'].items()
        if GAIN in row['cells']
        and row['cells'][GAIN]['mean'] is not None
        and row['costs']['latency'] is not None
    }
    if not points:
        return False
    figure = Figure(figsize=(7.5, 4.2), layout='constrained')
    axes = figure.add_subplot()
    axes.axhline(0, color='0.6', linewidth=1, linestyle='--', zorder=0)
    colours = matplotlib.colormaps['tab10'].colors
    for index, (name, (latency, gain, std)) in enumerate(
        sorted(points.items(), key=lambda item: item[1][0])
    ):
        colour = '0.35' if name == SINGLE_TASK else colours[index % len(colours)]
        axes.errorbar(
            latency,
            gain,
            yerr=std,
            fmt=MARKERS[index % len(MARKERS)],
            color=colour,
            capsize=3,
            label=name.replace('_', ' '),
        )
    latencies = [latency for latency, _, _ in points.values()]
    if max(latencies) > WIDE_RANGE * min(latencies):
        axes.set_xscale('log')
    else:
        axes.set_xlim(0, 1.08 * max(latencies))
    axes.set_xlabel(f'latency of one image (ms), {summary["costs"]["device"]}')
    axes.set_ylabel('multi-task gain Δm (%)')
    axes.grid(alpha=0.3)
    figure.legend(loc='outside right upper', frameon=False)
    save_figure(figure, path)
    return True
