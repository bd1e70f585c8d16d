"""A process that ends with its parent, also when the parent is killed."""

import os
import signal
import subprocess
import sys

import pytest
from process_list import all_end, is_alive, needs_proc

from m2h_mm.experiments.sweep_runner import Launcher
from m2h_mm.system import processes

PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, '-c', {child!r}, *sys.argv[1:]], stdout=subprocess.PIPE)
print(child.stdout.readline().decode().strip(), flush=True)
child.wait()
"""
CHILD = """
import os, sys, time
from m2h_mm.system.processes import end_with_parent
{prepare}
end_with_parent(*map(int, sys.argv[1:]))
print(os.getpid(), flush=True)
time.sleep(60)
"""


def start_parent(child: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, '-c', PARENT.format(child=child), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


@needs_proc
@pytest.mark.parametrize(
    ('prepare', 'end'),
    [
        ('', signal.SIGKILL),
        ('', signal.SIGTERM),
        # Where the system cannot do it, a thread watches.
        (
            'from m2h_mm.system import processes; '
            'processes._ask_the_system = lambda: False; processes._POLL_SECONDS = 0.05',
            signal.SIGKILL,
        ),
    ],
)
def test_a_child_ends_with_its_parent(prepare, end):
    with start_parent(CHILD.format(prepare=prepare)) as parent:
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.send_signal(end)
    assert all_end([child])


def test_a_parent_that_ended_before_is_noticed():
    nobody = subprocess.Popen([sys.executable, '-c', ''])
    nobody.wait()
    with start_parent(CHILD.format(prepare=''), str(nobody.pid)) as parent:
        assert parent.stdout.readline().strip() == ''  # the child has ended without a word
    assert parent.returncode == 0


def test_what_a_launcher_starts_ends_with_it_and_nothing_else_does(monkeypatch):
    called = []
    monkeypatch.setattr(processes, 'end_with_parent', lambda *parent: called.append(parent))
    monkeypatch.delenv('TORCHELASTIC_RUN_ID', raising=False)
    monkeypatch.delenv(processes.STARTED_BY, raising=False)
    processes.end_with_launcher()
    assert called == []
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')
    processes.end_with_launcher()
    assert called == [()]
    started = processes.ending_with_this(dict(PATH='/bin'))
    assert started['PATH'] == '/bin'
    monkeypatch.setenv(processes.STARTED_BY, started[processes.STARTED_BY])
    processes.end_with_launcher()
    assert called == [(), (os.getpid(),)]
    # What this process starts is not the launcher's child.
    assert processes.STARTED_BY not in os.environ


def test_what_a_sweep_starts_ends_with_it_unless_slurm_runs_it_elsewhere():
    assert Launcher().environment(0)[processes.STARTED_BY] == str(os.getpid())
    assert processes.STARTED_BY not in Launcher('slurm').environment(0)
