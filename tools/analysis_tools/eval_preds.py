"""Score predictions of any program: the same as ``m2h-mm eval-preds``."""

from m2h_mm.cli.eval_preds import main

if __name__ == '__main__':
    raise SystemExit(main())
