import pytest
from torch._utils import ExceptionWrapper

from m2h_mm.cli.errors import TRACEBACK_SWITCH, plain_errors
from m2h_mm.tasks import build_tasks


def test_our_errors_are_one_message(capsys):
    with pytest.raises(SystemExit) as stopped, plain_errors():
        build_tasks(['detph'])
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert "Did you mean 'depth'" in said and 'Traceback' not in said


def test_what_the_system_refuses_is_one_message(capsys, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit), plain_errors():
        (tmp_path / 'file' / 'folder').mkdir(parents=True)
    said = capsys.readouterr().err
    assert 'Not a directory' in said and str(tmp_path / 'file') in said


def test_a_file_that_vanished_in_a_worker_is_one_message(capsys):
    worker = ExceptionWrapper((OSError, OSError(), None), 'in a worker')
    worker.exc_type, worker.exc_msg = (
        FileNotFoundError,
        (
            'Caught FileNotFoundError in a worker.\nOriginal Traceback (most recent call last):\n'
            '  File "/numpy/io.py", line 4\n'
            "FileNotFoundError: [Errno 2] No such file or directory: 'x.npy'"
        ),
    )
    with pytest.raises(SystemExit), plain_errors():
        worker.reraise()
    assert "error: [Errno 2] No such file or directory: 'x.npy'" in capsys.readouterr().err


def test_errors_of_others_keep_their_traceback(monkeypatch):
    with pytest.raises(ValueError), plain_errors():
        int('x')
    monkeypatch.setenv(TRACEBACK_SWITCH, '1')
    with pytest.raises(ValueError, match='detph'), plain_errors():
        build_tasks(['detph'])
