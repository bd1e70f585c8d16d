"""One of two processes that train and test by the tools, in turn: RANK FOLDER.

Started by ``run_two_processes`` of conftest.py. ``FOLDER/calls.json`` says what to call. In one
start they do what would take several: most of the time of a process of toy size is its start.
"""

import json
import os
import runpy
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
os.environ.update(LOCAL_RANK=str(rank), RANK=str(rank), WORLD_SIZE='2')


def gloo_threads() -> list[str]:
    """Names of gloo's threads in this process, where the operating system tells them."""
    names = [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]
    return [name for name in names if 'gloo' in name]


def call(tool: str, *arguments: object) -> None:
    # The processes meet by a file, a new one for each tool: no port can be taken by others.
    meeting = folder / f'meeting_{len(threads)}'
    options = dict(init_method=f'file://{meeting}', rank=rank, world_size=2, timeout=120)
    sys.argv = [
        tool,
        *map(str, arguments),
        *('--launcher', 'pytorch', '--cfg-options'),
        *(f'env_cfg.dist_cfg.{name}={value}' for name, value in options.items()),
    ]
    try:
        runpy.run_path(str(REPOSITORY / 'tools' / tool), run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise
    threads.append(gloo_threads())


threads: list[list[str]] = []
for tool, *arguments in json.loads((folder / 'calls.json').read_text()):
    call(tool, *arguments)
(folder / f'threads_{rank}.json').write_text(json.dumps(threads))
