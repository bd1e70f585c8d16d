"""Gradio's components that a visitor fills in, which take this page's uploads and no other file."""

from __future__ import annotations

from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import LocalContext


def is_upload(path: Any) -> bool:
    """Whether a visitor of the page that is being served has uploaded ``path``.

    Gradio names an upload by a hash of its content and of a secret: only who has uploaded a file
    knows its path. The path is compared as a text, so that nothing is asked of the disk.
    """
    page = LocalContext.blocks.get(None)
    return isinstance(path, str) and page is not None and path in page.upload_file_set


async def as_it_is(component: gr.components.Component, path: str | Path | None) -> str | None:
    """In place of the method of a component by which Gradio fetches the files that it finds in the
    component's value, whatever the component is: no file is copied, and no address downloaded.
    """
    return None if path is None else str(path)


def without_fetching(component: type[gr.components.Component]) -> type[gr.components.Component]:
    """A component's class with :func:`as_it_is`; in the browser it is the component itself."""
    attributes = dict(
        __module__=__name__, is_template=True, async_move_resource_to_block_cache=as_it_is
    )
    # Gradio's own metaclass would write a .pyi file beside this one.
    return ABCMeta.__new__(type(component), component.__name__, (component,), attributes)


UploadedImage = without_fetching(gr.Image)
Dropdown = without_fetching(gr.Dropdown)
CheckboxGroup = without_fetching(gr.CheckboxGroup)
