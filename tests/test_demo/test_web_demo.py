"""The page in a real browser, without a window: Debian's Chromium, driven by Playwright."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DEMO = Path(__file__).resolve().parents[2] / 'demo' / 'web_demo.py'
CHROMIUM = next(
    filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None
)
TASKS = ['semseg', 'depth', 'normals', 'edge']
# Spread of the brightest-lit channel over a picture, what the browser has really drawn.
SPREAD = """image => {
  const canvas = document.createElement('canvas'), size = 64;
  canvas.width = canvas.height = size;
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0, size, size);
  const data = context.getImageData(0, 0, size, size / 2).data;
  const pixels = data.filter((_, index) => index % 4 < 3);
  return [image.naturalWidth, Math.max(...pixels) - Math.min(...pixels)];
}"""


def test_without_gradio_there_is_a_message(run, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    monkeypatch.delitem(sys.modules, 'm2h_mm.cli.web.page', raising=False)
    said = run('web', tiny[1], '--config', tiny[0], status=1)
    assert said.strip().startswith('error: ') and 'pip install' in said


def test_a_model_that_cannot_be_loaded_is_one_message(run, tiny, tmp_path):
    pytest.importorskip(
        'gradio', reason='Gradio is not installed: pip install -r requirements/web.txt'
    )
    said = run('web', tmp_path / 'lost.pth', '--config', tiny[0], status=1)
    assert f'Model {tmp_path / "lost.pth"} with {tiny[0]}' in said and 'Traceback' not in said


@pytest.fixture
def address(tiny, tmp_path):
    """Of the page, served as a user starts it and ended as a service manager ends it."""
    pytest.importorskip(
        'gradio', reason='Gradio is not installed: pip install -r requirements/web.txt'
    )
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    temporary = tmp_path / 'temporary'
    temporary.mkdir()
    process = subprocess.Popen(
        [
            sys.executable,
            str(DEMO),
            str(tiny[1]),
            '--port',
            str(port),
            '--device',
            'cpu',
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env={**os.environ, 'TMPDIR': str(temporary), 'OMP_NUM_THREADS': '1'},
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith('Page: '):
            break
    else:
        pytest.fail(''.join(said))
    try:
        yield line.split()[1]
    finally:
        process.send_signal(signal.SIGTERM)
        said.append(process.communicate(timeout=30)[0])
    assert process.returncode == 0 and 'Traceback' not in ''.join(said), ''.join(said)
    assert not list(temporary.glob('m2h_mm_*'))


@pytest.fixture
def browser():
    playwright = pytest.importorskip(
        'playwright.sync_api', reason='Playwright is not installed: pip install playwright'
    )
    if CHROMIUM is None:
        pytest.skip('there is no Chromium: apt install chromium')
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=['--use-angle=swiftshader', '--enable-unsafe-swiftshader'],
        )
        yield browser
        browser.close()


def test_it_may_end_as_soon_as_it_serves(address):
    assert address.startswith('http://127.0.0.1:')


def test_a_visit(browser, address, tmp_path):
    photo, bad = tmp_path / 'room.png', tmp_path / 'bad.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)).save(
        photo
    )
    bad.write_text('no image')
    page, elsewhere, mistakes = browser.new_page(), [], []
    page.set_default_timeout(60_000)
    page.on(
        'request',
        lambda request: (
            None
            if request.url.startswith((address, 'blob:', 'data:'))
            else elsewhere.append(request.url)
        ),
    )
    page.on('pageerror', lambda mistake: mistakes.append(mistake))
    page.goto(address)
    choose = '#upload input[type=file]'
    page.set_input_files(choose, bad)
    page.wait_for_selector('#note .problem')
    assert 'bad.png is no image that can be read' in page.inner_text('#note')
    # So small that even the depth of a random model is smooth enough for a surface, once its edges
    # are not asked for.
    page.fill('#size input', '14x14')
    page.press('#size input', 'Enter')
    page.set_input_files(choose, photo)
    for task in TASKS:
        width, spread = page.wait_for_selector(f'#map-{task} img').evaluate(
            f'async image => {{ await image.decode(); return ({SPREAD})(image); }}'
        )
        assert width > 900 and spread > 30
    assert 'saw 14 × 14' in page.inner_text('#note')
    other = browser.new_context().new_page()
    other.goto(address)
    other.wait_for_selector('#upload')
    assert 'Drop an image' in other.inner_text('#note') and not other.query_selector(
        '#map-depth img'
    )

    for label in ('Semantic segmentation', 'Surface normals', 'Edges'):
        page.get_by_label(label, exact=True).uncheck()
    page.click('#predict')
    page.wait_for_selector('#map-edge img', state='detached')
    assert page.query_selector('#map-depth img')
    surface = page.wait_for_selector('#surface canvas')
    surface.scroll_into_view_if_needed()
    for _ in range(40):
        page.wait_for_timeout(250)
        surface.screenshot(path=tmp_path / 'surface.png')
        if np.asarray(Image.open(tmp_path / 'surface.png').convert('L'))[60:].std() > 5:
            break
    else:
        pytest.fail('the surface is not drawn')
    with page.expect_download() as download:
        page.click('#download')
    download.value.save_as(tmp_path / 'results.zip')
    assert download.value.suggested_filename == 'room.zip'
    with zipfile.ZipFile(tmp_path / 'results.zip') as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ['depth/room.npy', 'pictures/depth.png', 'room.ply']
    assert elsewhere == [] and mistakes == []
