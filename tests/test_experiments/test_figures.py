"""Figures as files."""

import os

import pytest
from full_disk import full_disk
from matplotlib.figure import Figure

from m2h_mm.experiments.figures import save_figure


def test_a_figure_is_whole_or_not_there(tmp_path):
    with full_disk(100), pytest.raises(OSError, match='a.png .* could not be written'):
        save_figure(Figure(), tmp_path / 'a.png')
    assert os.listdir(tmp_path) == []
    save_figure(Figure(), tmp_path / 'new' / 'a.svg')
    assert (tmp_path / 'new' / 'a.svg').read_text().startswith('<?xml')
