"""Convert MTI-Net or PAD-Net: the same as ``m2h-mm convert-checkpoint mti_net``."""

import sys

from m2h_mm.cli.convert_checkpoint import main

if __name__ == '__main__':
    raise SystemExit(main(['mti_net', *sys.argv[1:]]))
