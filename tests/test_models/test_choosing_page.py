"""docs/choosing.md has a row for everything that can be chosen."""

import re
from pathlib import Path

import m2h_mm.methods
import m2h_mm.models  # noqa: F401
from m2h_mm.registry import MODELS

PAGE = Path(__file__).parents[2] / 'docs' / 'choosing.md'


def test_every_interaction_decoder_and_weighting_has_a_row():
    kinds = {
        name
        for name, cls in MODELS.module_dict.items()
        if cls.__module__.startswith(('m2h_mm.models.interactions', 'm2h_mm.models.weighting'))
        or (cls.__module__.startswith('m2h_mm.methods') and name.endswith('Decoder'))
    }
    rows = set(re.findall(r'^\| `(\w+)`', PAGE.read_text(), re.MULTILINE))
    assert len(kinds) > 20 and not kinds - rows
