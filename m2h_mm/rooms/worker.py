"""A child process that renders rooms for its parent.

``python -m m2h_mm.rooms.worker FOLDER PARENT STYLE SEED HEIGHT WIDTH``, started by :mod:`.cache`.
It reads indices of rooms from stdin, one per line, and answers each with the room's camera, or
with the reason why its files could not be written. It ends when its parent does.
"""

import json
import os
import signal
import sys
from pathlib import Path

import cv2

from m2h_mm.rooms.cache import render_to
from m2h_mm.system.processes import end_with_parent


def main() -> None:
    folder, style = Path(sys.argv[1]), sys.argv[3]
    parent, seed, height, width = map(int, (sys.argv[2], *sys.argv[4:]))
    end_with_parent(parent)
    cv2.setNumThreads(1)
    # Ctrl-C reaches the whole group; this process ends in good order when its pipe does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Answers go out on a stream of their own, so that nothing that a library prints can be taken
    # for one.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        try:
            answer = render_to(folder, style, seed, int(line), height, width)
        except OSError as error:
            answer = dict(errno=error.errno, reason=error.strerror)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
    main()
