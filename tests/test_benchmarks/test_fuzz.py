"""A fuzz in small, and the judge: what it takes for good, and what for a finding."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import fuzz
import numpy as np
import pytest
from fuzz_guard import ACCEPTED, FINDING, REFUSED, Attempt, Canaries, Guard, Implausible, judge
from fuzz_mutate import mutate_bytes, mutate_tree

from m2h_mm.system.paths import path_inside
from m2h_mm.tasks.files import read_array


@pytest.fixture(scope='module')
def guard(tmp_path_factory):
    return Guard(tmp_path_factory.mktemp('sandbox')).install()


@pytest.mark.filterwarnings('ignore::UserWarning')  # of Pillow
@pytest.mark.parametrize('kind', ['images', 'labels', 'lists', 'cameras'])
def test_a_few_of_each_kind(tmp_path, kind):
    results = fuzz.Results(tmp_path / 'findings', 7)
    fuzz.attack(kind, tmp_path, results, range(25))
    assert results.counts[kind][FINDING] == 0, next(results.folder.rglob('*.txt')).read_text()
    assert sum(results.counts[kind].values()) == 25 and results.counts[kind][REFUSED]


def test_what_the_mutations_start_from_is_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr('fuzz_data.mutate_bytes', lambda rng, data, others: data)
    results = fuzz.Results(tmp_path / 'findings', 0)
    fuzz.attack('images', tmp_path, results, range(40))
    assert results.counts['images'][ACCEPTED] == 40


def test_an_input_follows_from_its_seed_and_index(tmp_path):
    maker = fuzz.build('labels', tmp_path)
    contents = [
        fuzz.make(maker, 'labels', seed, index).files[0].read_bytes()
        for seed, index in ((0, 5), (0, 6), (0, 5), (1, 5))
    ]
    assert contents[0] == contents[2] and len(set(contents)) == 3


def test_a_finding_is_kept_with_the_command_that_repeats_it(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'a')
    results = fuzz.Results(tmp_path / 'findings', 3)
    attempt = Attempt({}, [], [tmp_path / 'a.png'], 'a note')
    results.add('images', 41, fuzz.Verdict(FINDING, 'read', 'took long'), attempt)
    results.add('images', 42, fuzz.Verdict(ACCEPTED))
    kept = tmp_path / 'findings' / 'images' / '41'
    said = (kept / 'finding.txt').read_text()
    assert '--seed 3 --kind images --only 41' in said and 'took long\na note' in said
    assert (kept / 'a.png').read_bytes() == b'a' and not (kept.parent / '42').exists()
    assert results.table().row_count == len(fuzz.KINDS) + 1


def interrupt():
    os.kill(os.getpid(), signal.SIGPROF)  # as the clock does


def implausible():
    raise Implausible('-1 pixels')


@pytest.mark.parametrize(
    ('call', 'outcome'),
    [
        (lambda: path_inside('/tmp', '../x'), REFUSED),
        (lambda: read_array('a.txt'), REFUSED),
        (lambda: None, ACCEPTED),
        (lambda: int('x'), FINDING),
        (lambda: {}['x'], FINDING),
        (lambda: path_inside('/tmp', 'a' * 3, 5, 6), FINDING),  # a TypeError that nobody raised
        (lambda: path_inside('/tmp', '/y'), FINDING),  # names another file
        (implausible, FINDING),
        (interrupt, FINDING),
        (lambda: Path('/tmp/fuzz_outside').write_text('x'), FINDING),
        (lambda: Path('/dev/zero').open('rb'), FINDING),
        (lambda: os.remove('/tmp/fuzz_outside'), FINDING),
        (lambda: subprocess.run(['true']), FINDING),
        (lambda: socket.create_connection(('127.0.0.1', 9)), FINDING),
    ],
)
def test_what_is_a_finding(guard, call, outcome):
    found = judge(Attempt(dict(call=call), ['../x', 'a.txt']), guard)
    assert found.outcome == outcome, found.text
    assert not Path('/tmp/fuzz_outside').exists()


def test_what_is_done_outside_is_seen_also_where_the_error_is_caught(guard):
    def caught():
        try:
            os.mkdir('/tmp/fuzz_outside')
        except OSError:
            raise ValueError('a.txt') from None

    assert judge(Attempt(dict(call=caught), ['a.txt']), guard).outcome == FINDING
    inside = Attempt(dict(call=lambda: (guard.sandbox / 'a').write_text('x')), [])
    assert judge(inside, guard).outcome == ACCEPTED
    Path(guard.sandbox.parent / 'nobody_listens').write_text('x')


def test_canaries_tell_of_what_native_code_does(tmp_path, guard):
    canaries = Canaries(tmp_path / 'outside')
    assert canaries.changes() == ''
    (tmp_path / 'outside' / 'passwd').write_bytes(b'changed')
    (tmp_path / 'outside' / 'new').touch()
    assert "['new', 'passwd']" in canaries.changes() and canaries.changes() == ''


def test_memory_is_looked_at(guard):
    assert 'of memory' in judge(Attempt(dict(call=int), [], memory=-1), guard).text


def test_mutations_leave_little_as_it_was():
    rng, data = np.random.default_rng(0), bytes(range(200))
    changed = [mutate_bytes(rng, data, [data]) for _ in range(50)]
    assert sum(each != data for each in changed) > 40
    tree = dict(a=[1, dict(b=2)], c='d')
    found = [mutate_tree(rng, tree) for _ in range(50)]
    assert tree == dict(a=[1, dict(b=2)], c='d') and all(note for _, note in found)
    assert sum(repr(each) != repr(tree) for each, _ in found) > 45
