"""The scripts of benchmarks/ are no package: their folder is where Python looks for them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / 'benchmarks'))
