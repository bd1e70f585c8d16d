"""The web page as its server answers; what a browser makes of it is tested in
test_demo/test_web_demo.py.
"""

import json
import os
import socket
import tempfile
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('gradio', reason='Gradio is not installed: pip install -r requirements/web.txt')
import httpx  # noqa: E402  (comes with Gradio)

from m2h_mm.cli.web import page as web_page  # noqa: E402
from m2h_mm.cli.web.temporary import PREFIX, temporary_folder  # noqa: E402
from m2h_mm.inference.inferencer import M2HInferencer  # noqa: E402
from m2h_mm.system.locks import acquire  # noqa: E402

IMAGE = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def models(tiny):
    return dict(toy=M2HInferencer(tiny[1], device='cpu', show_progress=False))


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Visitor:
    """What the page in a browser does, without one."""

    def __init__(self, address):
        self.http = httpx.Client(base_url=f'{address}gradio_api/', timeout=60)
        config = httpx.get(f'{address}config').json()
        self.outputs = {
            component['id']: component['props'].get('elem_id') for component in config['components']
        }
        self.predict_step = next(
            step for step in config['dependencies'] if len(step['targets']) == 2
        )
        self.session = uuid.uuid4().hex

    def upload(self, path):
        answer = self.http.post('upload', files=dict(files=(path.name, path.read_bytes())))
        return dict(path=answer.json()[0], orig_name=path.name, meta=dict(_type='gradio.FileData'))

    def predict(self, file, tasks=('depth',), size='native', model='toy'):
        """Component to what it becomes, or None where the server failed."""
        self.http.post(
            'queue/join',
            json=dict(
                data=[file, model, list(tasks), size],
                session_hash=self.session,
                fn_index=self.predict_step['id'],
            ),
        ).raise_for_status()
        with self.http.stream('GET', 'queue/data', params=dict(session_hash=self.session)) as lines:
            for line in lines.iter_lines():
                message = json.loads(line.removeprefix('data:')) if line.startswith('data:') else {}
                if message.get('msg') == 'process_completed':
                    if not message['success']:
                        return None
                    names = [self.outputs[component] for component in self.predict_step['outputs']]
                    return dict(zip(names, message['output']['data'], strict=True))
        return None


@pytest.fixture
def page(models, monkeypatch):
    """Serves the page; fails if anything but this machine is spoken to meanwhile."""
    elsewhere = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            '127.0.0.1',
            '::1',
        ):
            elsewhere.append(address)
        return connect(self, address)

    def guarded_look_up(host, *args, **kwargs):
        if host not in (None, 'localhost', '127.0.0.1', b'127.0.0.1'):
            elsewhere.append(host)
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, 'connect', guarded_connect)
    monkeypatch.setattr(socket, 'getaddrinfo', guarded_look_up)
    with web_page.serving(models, port=free_port()) as address:
        yield address
    assert elsewhere == []


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / 'room.png')
    return tmp_path / 'room.png'


def test_an_upload_becomes_pictures_and_an_archive(page, photo):
    visitor = Visitor(page)
    shown = visitor.predict(visitor.upload(photo), ['depth', 'edge'])
    assert 'saw 37 × 50' in shown['note']
    assert [name for name in shown if name.startswith('map-') and shown[name]['visible']] == [
        'map-depth',
        'map-edge',
    ]
    for update in (shown['download'], shown['map-depth']):
        content = visitor.http.get(f'file={update["value"]["path"]}')
        assert content.status_code == 200 and len(content.content) > 1000


def test_mistakes_are_messages_and_the_server_goes_on(page, photo, tmp_path, monkeypatch):
    visitor = Visitor(page)
    file = visitor.upload(photo)
    (tmp_path / 'bad.png').write_text('no image')
    bad = visitor.predict(visitor.upload(tmp_path / 'bad.png'))
    assert 'class="problem"' in bad['note'] and 'bad.png is no image' in bad['note']
    assert (
        bad['upload'] is None and not bad['map-depth']['visible'] and not bad['download']['visible']
    )
    for options, message in (
        (dict(tasks=[]), 'at least one'),
        (dict(size='<b>'), 'Size: expected test, native'),
        (dict(size='<b>'), 'got &#x27;&lt;b&gt;&#x27;'),
        (dict(size=None), 'HEIGHTxWIDTH'),
        (dict(size='0x14'), 'HEIGHTxWIDTH'),
        (dict(size='9' * 5000 + 'x5'), 'HEIGHTxWIDTH'),
        (dict(size=['1x1']), 'HEIGHTxWIDTH'),
        (dict(size='9999x9999'), 'smaller size'),
    ):
        assert message in visitor.predict(file, **options)['note']
    assert 'Drop an image' in visitor.predict(None)['note']
    for error, message in (
        (RuntimeError('not enough memory: you tried to'), 'not enough memory for this size'),
        (OSError('No space left'), 'No space left'),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                web_page, 'predict_upload', lambda *_, error=error: (_ for _ in ()).throw(error)
            )
            assert message in visitor.predict(file)['note']
    with monkeypatch.context() as patch:
        patch.setattr(web_page, 'predict_upload', lambda *_: 1 / 0)
        assert visitor.predict(file) is None
    assert 'There is no model' in visitor.predict(file, model='another')['note']
    assert 'saw 37 × 50' in visitor.predict(file)['note']


def test_visitors_take_turns_and_see_their_own(page, tmp_path, monkeypatch):
    running, most, genuine = [], [], web_page.predict_upload

    def slow(*args):
        running.append(args)
        most.append(len(running))
        time.sleep(0.3)
        running.pop()
        return genuine(*args)

    monkeypatch.setattr(web_page, 'predict_upload', slow)
    notes = {}

    def visit(width):
        path = tmp_path / f'{width}.png'
        Image.fromarray(IMAGE[:, :width]).save(path)
        visitor = Visitor(page)
        notes[width] = visitor.predict(visitor.upload(path))['note']

    visits = [threading.Thread(target=visit, args=(width,)) for width in (20, 30, 40)]
    for thread in visits:
        thread.start()
    for thread in visits:
        thread.join()
    assert most == [1, 1, 1]
    assert all(f'37 × {width} pixels' in note for width, note in notes.items()) and len(notes) == 3


def test_the_browser_is_told_of_gradios_own_components(page):
    kinds = {
        component['props'].get('elem_id'): component['type']
        for component in httpx.get(f'{page}config').json()['components']
    }
    assert kinds['upload'] == 'image' and kinds['tasks'] == 'checkboxgroup'
    assert kinds['model'] == kinds['size'] == 'dropdown'


def test_files_of_the_server_are_not_handed_out(page, photo):
    visitor = Visitor(page)
    for path in (photo, Path(__file__), '/etc/passwd'):
        assert visitor.http.get(f'file={path}').status_code in (403, 404)
        assert visitor.predict(dict(path=str(path), meta=dict(_type='gradio.FileData'))) is None


def test_only_what_a_visitor_has_uploaded_is_read(page, photo, tmp_path, monkeypatch):
    """A request may name any file, with the mark of an upload or without: it is not even opened, so
    that neither a pipe nor a device holds the page up, and no answer says what there is.
    """
    visitor = Visitor(page)
    file = visitor.upload(photo)
    result = visitor.predict(file)['download']['value']['path']
    upload = Path(file['path'])
    (upload.parent / 'link.png').symlink_to(photo)
    os.mkfifo(tmp_path / 'pipe')
    mark = dict(meta=dict(_type='gradio.FileData'))
    refused = [
        dict(path=str(photo)),
        dict(path='/no/such/file.png'),
        dict(path=str(tmp_path / 'pipe')),
        dict(path='/dev/zero'),
        dict(path='/dev/stdin'),
        dict(path='a\0b'),
        dict(path='http://example.com/x.png'),
        dict(path=None, url='http://example.com/x.png', **mark),
        dict(path='http://example.com/x.png', **mark),
        dict(path=result, **mark),  # of another visitor, say
        dict(path=str(upload.parent / 'link.png'), **mark),
        dict(path=f'{upload.parent}/../{upload.parent.name}/link.png', **mark),
        dict(path=str(upload.parent), **mark),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(web_page, 'predict_upload', lambda *_: 1 / 0)
        said = visitor.predict(refused[0])
        assert 'not on the server' in said['note'] and said['upload'] is None
        for file_of_server in refused:
            # Gradio itself stops at a link and a path with dots, without saying anything.
            assert visitor.predict(file_of_server) in (said, None)
    for component in ('model', 'size'):  # Gradio would download it
        visitor.predict(file, **{component: dict(path='http://example.com/x.png', **mark)})
    assert 'saw 37 × 50' in visitor.predict(file)['note']


def test_too_many_megabytes_are_not_taken(page, monkeypatch):
    answer = Visitor(page).http.post(
        'upload', files=dict(files=('x.png', bytes(web_page.MAX_UPLOAD_BYTES + 1)))
    )
    assert answer.status_code == 413


def test_files_are_removed_after_a_while_and_at_the_end(models, photo, monkeypatch):
    monkeypatch.setattr(web_page, 'SWEEP_SECONDS', 1)
    monkeypatch.setattr(web_page, 'KEEP_SECONDS', 2)
    with web_page.serving(models, port=free_port()) as address:
        visitor = Visitor(address)
        file = visitor.upload(photo)
        archive = Path(visitor.predict(file)['download']['value']['path'])
        folder = archive.parents[1]
        assert archive.is_file() and Path(file['path']).is_file()
        while any(path.is_file() for path in folder.rglob('*')):
            time.sleep(0.2)
        assert 'not on the server' in visitor.predict(file)['note']
    assert not folder.exists() and 'GRADIO_TEMP_DIR' not in os.environ


def test_what_a_killed_page_has_left_is_removed_at_the_next_start(tmp_path, monkeypatch):
    """Of this user's pages alone, and of none that lives."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    others = tmp_path / 'others'
    others.mkdir()
    (tmp_path / f'{PREFIX}link').symlink_to(others)
    (tmp_path / f'{PREFIX}without_lock').mkdir()
    killed = tmp_path / f'{PREFIX}killed'
    acquire(killed).close()  # as the system does with the lock of a process that ends
    (killed / 'files').mkdir()
    (killed / 'files' / 'photo.png').touch()
    with temporary_folder() as living:
        assert not killed.exists()
        with temporary_folder() as second:
            assert living.is_dir() and second.is_dir() and living != second
    assert {path.name.removeprefix(PREFIX) for path in tmp_path.iterdir()} == {
        'others',
        'link',
        'without_lock',
    }


def test_a_port_that_is_taken_is_named(models):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f'--port {port}'), web_page.serving(models, port=port):
            pass
