import time

import pytest
import torch

from m2h_mm.experiments.timing import StageClock, is_out_of_memory, peak_memory, time_calls

MIB = 2**20


def test_functions_are_called_in_turn():
    called = []
    times = time_calls(
        dict(a=lambda: called.append('a'), b=lambda: called.append('b')), repeats=3, warmup=2
    )
    assert called == ['a', 'b'] * 5
    assert {name: len(values) for name, values in times.items()} == dict(a=3, b=3)


def test_times_are_seconds_of_each_function():
    times = time_calls(
        dict(short=lambda: time.sleep(0.001), long=lambda: time.sleep(0.03)), repeats=3, warmup=0
    )
    assert min(times['long']) >= 0.03
    assert 0.001 <= min(times['short']) < 0.03


def test_the_result_is_given_back_before_the_next_call():
    alive, seen = [], []

    class Result:
        def __init__(self):
            alive.append(1)
            seen.append(len(alive))

        def __del__(self):
            alive.pop()

    time_calls(dict(a=Result, b=Result), repeats=2, warmup=1)
    assert seen == [1] * 6 and not alive


@pytest.mark.parametrize('options', [dict(functions={}), dict(repeats=0), dict(warmup=-1)])
def test_nothing_to_time(options):
    with pytest.raises(ValueError, match='time_calls'):
        time_calls(**dict(dict(functions=dict(a=int)), **options))


def allocate(mib):
    return torch.empty(mib * MIB, dtype=torch.uint8)


def test_the_peak_is_of_what_lives_at_once():
    def call():
        first = allocate(5)
        second = allocate(3)
        del first
        third = allocate(4)
        return second, third

    assert peak_memory(call) == 8 * MIB


def test_what_was_there_before_does_not_count():
    kept = [allocate(20)]

    def call():
        kept.clear()
        return allocate(6)

    assert peak_memory(call) == 6 * MIB


def test_a_training_step_keeps_what_a_prediction_drops():
    # No convolutions: their scratch memory is another on every kind of processor.
    model = torch.nn.Sequential(*(torch.nn.Tanh() for _ in range(6)))
    image = torch.zeros(1, 8, 64, 64, requires_grad=True)

    def predict():
        with torch.no_grad():
            return model(image)

    def step():
        model(image).sum().backward()
        image.grad = None

    predict(), step()
    assert peak_memory(predict) == 2 * image.nbytes
    assert peak_memory(step) > 6 * image.nbytes


def test_out_of_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 46)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(
        torch.cuda.OutOfMemoryError('CUDA out of memory.')
    ) and is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError('shapes do not match')) and not is_out_of_memory(
        ValueError()
    )


def test_a_stage_counts_without_those_within_it():
    clock = StageClock()
    with clock.stage('outer'):
        time.sleep(0.02)
        for _ in range(2):
            with clock.stage('inner'):
                time.sleep(0.04)
    time.sleep(0.02)
    clock.next_round()
    with pytest.raises(ZeroDivisionError), clock.stage('outer'):
        sum(range(10**5)) / 0
    first, second = clock.rounds
    assert 0.02 <= first['outer'][0] < 0.06 < 0.08 <= first['inner'][0]
    assert first['inner'][1] < 0.02 and 0 < second['outer'][1]  # who sleeps is not busy
    spent = second['outer']
    with clock.stage('later'):
        pass
    assert second['outer'] == spent  # the one that failed has ended


def test_watched_calls_are_counted_and_return():
    owner, clock = [3, 1, 2], StageClock()

    class Owner:
        def add(self, a, b=1):
            return a + b + len(owner)

    watched = Owner()
    clock.watch(watched, 'add', 'adding')
    assert watched.add(1, b=2) == 6 and set(clock.rounds[-1]) == {'adding'}
    assert Owner().add(1) == 5
