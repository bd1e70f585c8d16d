"""Frames stay at their time."""

import numpy as np
import pytest

from m2h_mm.inference.video_times import constant_rate, repair_times


@pytest.mark.parametrize(
    ('times', 'rate'),
    [
        (np.arange(9000) / 29.97, 29.97),
        (np.arange(100_000) * 1001 / 30000, 29.97),
        (np.arange(100_000) / 29.8765432, 29.877),
        (np.round(np.arange(300) / 30, 3), 30),  # milliseconds, as in WebM
        (np.arange(300) / 30 + np.random.default_rng(0).uniform(0, 0.01, 300), 30),  # a phone
        (np.array([*range(11), *range(60, 69)]) / 10, 10),  # a still in a recording of a screen
        (np.array([0.0]), 25),
        (np.arange(500) / 1000, 240),
    ],
)
def test_a_rate_at_which_every_frame_has_its_time(times, rate):
    times = times - times[0]
    end = times[-1] + (0.04 if len(times) == 1 else times[-1] / (len(times) - 1))
    found = constant_rate(times, end)
    assert found == pytest.approx(rate, rel=2e-3)
    assert found == round(found, 3) and found * (1000 if found < 65 else 100) < 65536
    slots = np.rint(times * found)
    assert np.abs(slots / found - times).max() <= 1 / found / 2 + 1e-9
    assert len(set(slots)) == len(times) or rate == 240


def test_frames_that_are_close_together_get_a_finer_rate():
    times = np.cumsum([0, 17, 51, 250, 250, 16, 33, 16, 34, 250, 34]) / 1000
    rate = constant_rate(times, times[-1] + 0.034)
    assert rate == pytest.approx(4 / 0.034, rel=1e-3)
    assert len(set(np.rint(times * rate))) == len(times)


@pytest.mark.parametrize(
    ('stamps', 'duration', 'rate', 'end', 'usable'),
    [
        ([0.0, 0.1, 0.2], 0.3, 10, 0.3, True),
        ([5.0, 5.1, 5.2], 5.2, 10, 5.2, True),  # the last one is a still
        ([0.0, 0.1, 0.2], None, 120, 0.3, True),  # a browser's: the rate is a guess
        ([0.0, 0.1, 0.2], 1e9, 10, 0.3, True),
        ([0.0, 0.1, 0.2], 0.1, 10, 0.3, True),
        ([0.0], 4.0, 0.25, 4.0, True),
        ([0.0, 0.0, 0.0], 0.3, 10, 0.3, False),
        ([0.0, 0.2, 0.1], 0.3, 10, 0.3, False),
        ([0.0, 1e9, 2e9], 3e9, 1e-9, 0.1, False),
        ([0.0, np.nan, 0.2], 0.3, 10, 0.3, False),
    ],
)
def test_what_a_file_says_of_its_time_is_made_plausible(stamps, duration, rate, end, usable):
    times, found, used = repair_times(stamps, duration, rate)
    assert (used, found) == (usable, pytest.approx(end))
    assert times[0] == 0 and len(times) == len(stamps) and (np.diff([*times, found]) > 0).all()
