"""Names in docstrings as code: the site's reader knows Markdown, docstrings have Sphinx's roles."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r':(?:class|func|meth|mod|data|attr|exc):`~?([^`]*)`')


class Roles(griffe.Extension):
    """``:class:`~m2h_mm.tasks.Task``` becomes ```Task```."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            text = ROLE.sub(lambda role: f'`{role[1].rpartition(".")[2]}`', obj.docstring.value)
            # Literals of reStructuredText have two backquotes, as Markdown's may.
            obj.docstring.value = text
