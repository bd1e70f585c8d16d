"""The model that comes with the package works without a word about models."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m2h_mm.inference import M2HInferencer, shipped
from m2h_mm.inference.publishing import read_published

MOST = 16_000_000


def test_it_is_small_and_says_what_it_was_trained_on():
    facts = read_published(shipped.SHIPPED)
    assert shipped.SHIPPED.stat().st_size <= MOST
    assert all(facts[name] for name in ('name', 'trained_on', 'command', 'licence', 'iterations'))
    assert facts['results']['metrics']['rooms/depth/rmse'] > 0
    assert [path.name for path in shipped.SHIPPED.parent.iterdir()] == [shipped.SHIPPED.name]


def test_any_photo_needs_a_command_alone(run, nyud_sample, tmp_path):
    photo = Image.open(nyud_sample / 'images' / '000464.png')
    photo.convert('L').resize((333, 251)).save(tmp_path / 'grey.webp')
    said = run('predict', tmp_path / 'grey.webp', '--out-dir', tmp_path / 'out')
    facts = read_published(shipped.SHIPPED)
    assert facts['name'] in said and facts['trained_on'] in said
    assert (tmp_path / 'out' / 'pictures' / 'grey.png').is_file()
    depth = np.load(tmp_path / 'out' / 'depth' / 'grey.npy')
    assert depth.shape == (251, 333)
    # The floor in front is nearer than the wall behind.
    assert 0.5 < np.median(depth[-40:]) < 0.8 * np.median(depth[:40]) < 8


def test_it_is_nothing_beside_a_checkpoint_of_ones_own(tiny, monkeypatch):
    monkeypatch.setattr(shipped, 'SHIPPED', Path('lost.safetensors'))
    assert M2HInferencer(tiny[1], device='cpu').tasks
    with pytest.raises(FileNotFoundError, match=r'no model of its own \(lost\.safetensors'):
        M2HInferencer(device='cpu')
