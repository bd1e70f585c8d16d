"""When the frames of a video are shown, and the constant rate at which they can be written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

USUAL_RATE = 30.0
HIGHEST_RATE = 240.0
LONGEST_STILL = 3600.0
"""Seconds; a time stamp or a header that asks for more is damaged."""


def repair_times(
    stamps: Sequence[float], duration: float | None, rate: float
) -> tuple[np.ndarray, float, bool]:
    """What a file says of its time, made plausible.

    Args:
        stamps: of the frames, seconds.
        duration: of the video by its header, seconds; None where it does not say.
        rate: frames per second by its header; anything, where it does not say.

    Returns:
        The time at which each frame appears, seconds from the first one on; when the last one ends;
        whether the stamps could be used. If not, the frames are evenly spaced.
    """
    rate = rate if 1 <= rate <= HIGHEST_RATE else USUAL_RATE
    times = np.asarray(stamps, float) - stamps[0]
    gaps = np.diff(times)
    usable = bool(np.isfinite(times).all() and (gaps >= 0).all() and (gaps < LONGEST_STILL).all())
    usable = usable and (len(times) == 1 or times[-1] > 0)
    if not usable:
        times = np.arange(len(stamps)) / rate
    gaps = np.diff(times)
    last = float(times[-1])
    end = last + (float(np.median(gaps[gaps > 0])) if last else 1 / rate)
    if duration is not None and usable and last < duration < last + LONGEST_STILL:
        end = duration
    return times, end, usable


def constant_rate(times: np.ndarray, end: float) -> float:
    """A rate, in frames per second, at which every frame is shown, at its time.

    That of the frames, if none is off it by more than a third of a frame. Else the usual one or a
    multiple, at which none is. Where there is none, as in recordings of browsers, four times the
    usual one: of frames that are closer together than that, the later one alone is shown.

    Args:
        times: at which the frames appear, seconds from the first one on.
        end: of the last one.
    """
    even = (float(times[-1]) / (len(times) - 1)) if len(times) > 1 else end
    if np.abs(times - np.arange(len(times)) * even).max() <= even / 3:
        # Encoders do not know every rate: one that is rounded down would have too few frames.
        for rate in (_rounded(1 / even), _rounded(1.001 / even)):
            if (np.diff(np.rint(times * rate)) >= 1).all():
                return rate
    gaps = np.diff(times)
    usual = float(np.median(gaps[gaps > 0]))
    for fraction in (1, 2, 4):
        rate = _rounded(fraction / usual)
        slots = np.rint(times * rate)
        if (np.diff(slots) >= 1).all() and np.abs(times * rate - slots).max() <= 1 / 3:
            break
    return rate


def _rounded(rate: float) -> float:
    """As encoders know it: a fraction of whole numbers below 65536."""
    rate = min(max(rate, 1.0), HIGHEST_RATE)
    return round(rate, 3 if rate < 65 else 2)
