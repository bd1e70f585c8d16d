"""Show a page in the browser: the same as ``m2h-mm web``."""

from m2h_mm.cli.web.command import main

if __name__ == '__main__':
    raise SystemExit(main())
