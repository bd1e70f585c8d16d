"""A child process that renders rooms or walks for its parent.

``python -m m2h_mm.rooms.worker FOLDER PARENT KIND JOB``, started by :mod:`.filling`. It reads
numbers of items from stdin, one per line, and answers each with what the parent has to know of it,
or with the reason why its files could not be written. It ends when its parent does.
"""

import json
import os
import signal
import sys
from pathlib import Path

import cv2

from m2h_mm.rooms.cache import render_to
from m2h_mm.rooms.walk_cache import render_walk_to
from m2h_mm.system.processes import end_with_parent

RENDERERS = dict(rooms=render_to, walks=render_walk_to)


def main() -> None:
    folder, render, job = Path(sys.argv[1]), RENDERERS[sys.argv[3]], json.loads(sys.argv[4])
    end_with_parent(int(sys.argv[2]))
    cv2.setNumThreads(1)
    # Ctrl-C reaches the whole group; this process ends in good order when its pipe does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Answers go out on a stream of their own, so that nothing that a library prints can be taken
    # for one.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        try:
            answer = render(folder, int(line), **job)
        except OSError as error:
            answer = dict(errno=error.errno, reason=error.strerror)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
    main()
