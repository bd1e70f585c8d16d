"""Convert PASCAL-Context: the same as ``m2h-mm convert-data pascal_context``."""

import sys

from m2h_mm.cli.convert_data import main

if __name__ == '__main__':
    raise SystemExit(main(['pascal_context', *sys.argv[1:]]))
