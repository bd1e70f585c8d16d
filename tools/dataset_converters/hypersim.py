"""Convert Hypersim: the same as ``m2h-mm convert-data hypersim``."""

import sys

from m2h_mm.cli.convert_data import main

if __name__ == '__main__':
    raise SystemExit(main(['hypersim', *sys.argv[1:]]))
