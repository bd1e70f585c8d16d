"""Convert NYU Depth v2: the same as ``m2h-mm convert-data nyud``."""

import sys

from m2h_mm.cli.convert_data import main

if __name__ == '__main__':
    raise SystemExit(main(['nyud', *sys.argv[1:]]))
