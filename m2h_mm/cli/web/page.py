"""A page in the browser: drop an image, see its maps. The one file that imports Gradio."""

from __future__ import annotations

import argparse
import html
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from m2h_mm.cli.model_arguments import parse_size
from m2h_mm.cli.web.results import (
    MAX_UPLOAD_BYTES,
    MAX_UPLOAD_PIXELS,
    UploadError,
    predict_upload,
)
from m2h_mm.cli.web.temporary import temporary_folder
from m2h_mm.experiments.timing import is_out_of_memory
from m2h_mm.inference import M2HInferencer
from m2h_mm.models.pipeline import FIT, NATIVE, TEST
from m2h_mm.system import environment
from m2h_mm.tasks.view import build_view

try:
    import gradio as gr

    from m2h_mm.cli.web.uploads import CheckboxGroup, Dropdown, UploadedImage, is_upload
except ModuleNotFoundError as error:
    raise ImportError(
        f'The page in the browser needs Gradio ({error}): pip install m2h_mm[web]'
    ) from error

SWEEP_SECONDS, KEEP_SECONDS = 300, 1800
GONE = (
    'This image is not on the server, which keeps uploads for a while only: drop it onto the page '
    'again.'
)
CSS = """
#maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr));
        align-items: start; }
.note { padding: 2px 4px; }
.problem { padding: 10px 14px; border-radius: 8px; border: 1px solid #dc2626;
           border-left-width: 6px; }
"""


def build_page(models: Mapping[str, M2HInferencer]) -> gr.Blocks:
    """The page. One prediction runs at a time, whichever its model is; the others wait their turn.

    Args:
        models: by the names that are shown. The first is chosen.
    """
    names = list(models)
    panels: dict[str, gr.Image] = {}
    with gr.Blocks(
        title='m2h_mm',
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(SWEEP_SECONDS, KEEP_SECONDS),
    ) as page:
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                upload = UploadedImage(
                    label='Image',
                    type='filepath',
                    sources=['upload', 'clipboard'],
                    height=300,
                    elem_id='upload',
                    buttons=['fullscreen'],
                )
                model = Dropdown(names, value=names[0], label='Model', elem_id='model')
                tasks = CheckboxGroup(
                    **task_choices(models[names[0]]), label='Tasks', elem_id='tasks'
                )
                size = Dropdown(
                    [TEST, NATIVE, FIT],
                    value=TEST,
                    label='Size that the network sees',
                    elem_id='size',
                    info='test (as the model was evaluated), native (as the image is), fit (to the '
                    "network's stride), or HEIGHTxWIDTH such as 448x576",
                    allow_custom_value=True,
                )
                predict = gr.Button('Predict', variant='primary', elem_id='predict')
                download = gr.DownloadButton('Download (zip)', visible=False, elem_id='download')
            with gr.Column(scale=3, min_width=400):
                note = gr.HTML(hint(), elem_id='note')
                with gr.Row(elem_id='maps'):
                    task_of = {
                        name: task
                        for inferencer in models.values()
                        for name, task in inferencer.tasks.items()
                    }
                    for name, task in task_of.items():
                        panels[name] = gr.Image(
                            show_label=False,
                            alt_text=build_view(task).title,
                            format='png',
                            visible=False,
                            interactive=False,
                            buttons=['download', 'fullscreen'],
                            elem_id=f'map-{name}',
                        )
                # Left out of the page as the others are, it would stay empty once it is there.
                surface = gr.Model3D(
                    label='In space (drag to turn, scroll to come closer)',
                    height=480,
                    visible='hidden',
                    interactive=False,
                    elem_id='surface',
                )
        outputs = [note, download, surface, *panels.values()]

        def hide(message: str) -> dict:
            return {
                note: message,
                surface: gr.update(value=None, visible='hidden'),
                **{
                    output: gr.update(value=None, visible=False)
                    for output in (download, *panels.values())
                },
            }

        def show(
            file: dict | None, model_name: str, task_names: list[str], size_text: str | None
        ) -> dict:
            if file is None:
                return hide(hint())
            path = file.get('path')
            if not is_upload(path):
                return {**hide(problem(GONE)), upload: None}
            if model_name not in names:
                return hide(
                    problem(f'There is no model {model_name!r}; choose one of {", ".join(models)}.')
                )
            try:
                result = predict_upload(
                    models[model_name],
                    path,
                    task_names,
                    parse_size(str(size_text or '')),
                    page.GRADIO_CACHE,
                )
            except UploadError as error:
                return {**hide(problem(error)), upload: None}
            except argparse.ArgumentTypeError as error:
                return hide(problem(f'Size: {error}'))
            except (ValueError, OSError) as error:
                return hide(problem(error))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                return hide(
                    problem('There is not enough memory for this size: choose a smaller one.')
                )
            shown = {
                note: f'<div class="note">{html.escape(result.note)}</div>',
                download: gr.update(value=str(result.archive), visible=True),
                surface: gr.update(
                    value=result.surface and str(result.surface),
                    visible=True if result.surface else 'hidden',
                ),
            }
            for name, panel in panels.items():
                shown[panel] = gr.update(
                    value=result.pictures.get(name), visible=name in result.pictures
                )
            return shown

        # Gradio's own preprocessing would decode the file, and answer to a bad one with a stack. It
        # would take a file of this machine, too, of which a request does not say that it is one.
        gr.on(
            [upload.upload, predict.click],
            show,
            [upload, model, tasks, size],
            [*outputs, upload],
            preprocess=False,
            concurrency_limit=1,
            api_visibility='private',
        )
        upload.clear(lambda: hide(hint()), None, outputs, api_visibility='private', queue=False)
        model.change(
            lambda name: gr.update(**task_choices(models[name])) if name in names else gr.skip(),
            model,
            tasks,
            api_visibility='private',
            queue=False,
        )
    return page


@contextmanager
def serving(
    models: Mapping[str, M2HInferencer], host: str = '127.0.0.1', port: int = 7860
) -> Iterator[str]:
    """Serve the page while the context lasts; yields its address. Uploads and results are removed
    at the end, those of a page that was killed at the next start.

    Neither the server nor the page asks anything of other machines of its own accord.

    Args:
        models: see :func:`build_page`.
        host: address to listen at; '0.0.0.0' for all, whoever comes.
        port: to listen at.

    Raises:
        OSError: the port is taken.
    """
    with (
        temporary_folder() as folder,
        # Gradio reads them when the page is built, is opened, and by every upload.
        environment(GRADIO_TEMP_DIR=str(folder), GRADIO_ANALYTICS_ENABLED='False'),
    ):
        page = build_page(models)
        font = ('system-ui', 'sans-serif')  # no downloads
        try:
            page.launch(
                server_name=host,
                server_port=port,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                max_file_size=MAX_UPLOAD_BYTES,
                ssr_mode=False,
                run_history=False,
                mcp_server=False,
                enable_monitoring=False,
                footer_links=[],
                css=CSS,
                theme=gr.themes.Default(font=font, font_mono=font),
            )
        except OSError as error:
            raise OSError(
                f'--host {host} --port {port}: the page cannot listen there ({error}). Is the '
                'port taken? Give another.'
            ) from None
        try:
            yield page.local_url
        finally:
            page.close(verbose=False)


def task_choices(inferencer: M2HInferencer) -> dict[str, Any]:
    """Choices and value of the check boxes of a model's tasks: all."""
    return dict(
        choices=[(build_view(task).title, name) for name, task in inferencer.tasks.items()],
        value=list(inferencer.tasks),
    )


def hint() -> str:
    """What stands on the page before there is a result."""
    return (
        '<div class="note">Drop an image, or click to choose one, of up to '
        f'{MAX_UPLOAD_BYTES >> 20} megabytes and {MAX_UPLOAD_PIXELS / 1e6:.1f} megapixels. Its '
        'maps appear here.</div>'
    )


def problem(error: object) -> str:
    """What stands on the page instead of a result."""
    return f'<div class="problem" role="alert">{html.escape(str(error))}</div>'
