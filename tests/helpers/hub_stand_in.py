"""A small stand-in for Hugging Face's hub on this machine: one branch, files in memory."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = 'c' * 40


@contextmanager
def serving_hub() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yields the address, and what is on it: ``user/name/file`` to content."""
    files: dict[str, bytes] = {}

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
            self.send_response(status)
            for name, value in {'Content-Length': str(len(body)), **headers}.items():
                self.send_header(name.replace('_', '-'), value)
            self.end_headers()
            if self.command != 'HEAD':
                self.wfile.write(body)

        def do_GET(self) -> None:
            repo, _, rest = self.path.strip('/').partition('/resolve/')
            content = files.get(f'{repo}/{rest.partition("/")[2]}')
            if content is None:
                self.answer(b'', 404, X_Error_Code='RepoNotFound')
                return
            tag = f'"{hashlib.sha256(content).hexdigest()}"'
            self.answer(content, ETag=tag, X_Repo_Commit=COMMIT)

        do_HEAD = do_GET

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers['Content-Length'] or 0))
            reply: dict = {}
            if self.path == '/api/repos/create':
                asked = json.loads(body)
                owner = asked.get('organization') or 'me'
                reply = dict(url=f'http://{self.headers["Host"]}/{owner}/{asked["name"]}')
            elif '/preupload/' in self.path:
                named = [file['path'] for file in json.loads(body)['files']]
                reply['files'] = [
                    dict(path=name, uploadMode='regular', shouldIgnore=False) for name in named
                ]
            elif '/commit/' in self.path:
                repo = self.path.removeprefix('/api/models/').partition('/commit/')[0]
                for line in map(json.loads, body.splitlines()):
                    if line['key'] == 'file':
                        value = line['value']
                        files[f'{repo}/{value["path"]}'] = base64.b64decode(value['content'])
                reply = dict(commitUrl=self.path, commitOid=COMMIT)
            self.answer(json.dumps(reply).encode(), Content_Type='application/json')

    with ThreadingHTTPServer(('127.0.0.1', 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}', files
        server.shutdown()
