"""The card of a published model: what stands beside its weights for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from m2h_mm.engine.model_description import ModelDescription
from m2h_mm.tasks import Task, build_tasks
from m2h_mm.tasks.view import build_view

# What the hub calls the tasks, by our kinds.
_TAGS = {
    'semseg': 'image-segmentation',
    'depth': 'depth-estimation',
    'normals': 'surface-normals',
    'edge': 'edge-detection',
}
_USE = """\
    pip install m2h_mm[onedl,hub]

```python
from m2h_mm.inference import M2HInferencer

inferencer = M2HInferencer.from_pretrained('{source}')
maps = inferencer('room.jpg')['predictions'][0]
```
"""
_FACTS = {
    'trained_on': 'data',
    'config': 'config',
    'command': 'command',
    'iterations': 'iterations',
    'seed': 'seed',
    'version': 'm2h_mm',
    'licence': 'licence of the weights',
}


def model_card(
    description: ModelDescription, facts: Mapping[str, Any], source: str, storage: str
) -> str:
    """Markdown, with the metadata that the hub reads on top.

    Args:
        description: of the model.
        facts: what is said of it, see :data:`~m2h_mm.inference.publishing.PUBLISHED_KEY`.
        source: from where it can be had: ``user/name``, or a folder.
        storage: how its weights are stored, ``'float32'`` or ``'float16'``.
    """
    tasks = build_tasks(description.tasks)
    name = facts.get('name', 'model')
    sections = [
        f'---\n{yaml.safe_dump(_metadata(tasks, facts, name), sort_keys=False)}---',
        f'# {name}',
        'From one RGB image this model predicts, all at once:',
        _table(
            ('map', 'values'),
            [(build_view(task).title, _values(task, description)) for task in tasks.values()],
        ),
        f'It is a `{_type(description.model)}` with the backbone '
        f'`{_type(description.model.get("backbone"))}` and the decoder '
        f'`{_type(description.model.get("decoder"))}` of m2h_mm. Weights are stored in {storage}.',
        '## Use',
        _USE.format(source=source),
        '## Training',
        _table(
            ('', ''),
            [
                (said, _code(facts[key]) if key == 'command' else facts[key])
                for key, said in _FACTS.items()
                if key in facts
            ],
        ),
        '## Results',
        _results(tasks, facts.get('results')),
    ]
    return '\n\n'.join(part.strip('\n') for part in sections) + '\n'


def _metadata(tasks: Mapping[str, Task], facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if 'licence' in facts:
        metadata['license'] = facts['licence'].lower()
    tags = [_TAGS[task.kind] for task in tasks.values() if task.kind in _TAGS]
    metadata.update(library_name='m2h_mm', tags=['m2h', 'multi-task', *tags])
    metrics = (facts.get('results') or {}).get('metrics', {})
    data = str((facts.get('results') or {}).get('config', 'unknown'))
    results = [
        dict(
            task=dict(type=_TAGS.get(task.kind, task.kind), name=build_view(task).title),
            dataset=dict(type='test', name=f'test data of the config {data}'),
            metrics=[dict(type=task.metric, name=metric, value=float(value))],
        )
        for key, task in tasks.items()
        for metric, value in metrics.items()
        # Of several data sets, metrics have the name of each before theirs.
        if f'/{metric}'.endswith(f'/{key}/{task.metric}') and value is not None
    ]
    if results:
        metadata['model-index'] = [dict(name=name, results=results)]
    return metadata


def _values(task: Task, description: ModelDescription) -> str:
    classes = description.classes.get(task.name)
    if classes:
        return f'{len(classes)} classes: {", ".join(classes)}'
    return {
        'depth': 'metres along the optical axis',
        'normals': 'unit vectors, x right, y up, z toward the camera',
        'edge': 'probabilities',
    }.get(task.kind, '')


def _results(tasks: Mapping[str, Task], results: Mapping[str, Any] | None) -> str:
    if not results:
        return 'No results of a test are stated.'
    constant = results.get('constant_predictor') or {}
    better = {f'{key}/{task.metric}': task.higher_is_better for key, task in tasks.items()}
    rows = [
        (
            f'**{name}** ({"higher" if better[name] else "lower"} is better)'
            if name in better
            else name,
            f'{value:.4g}',
            f'{constant[name]:.4g}' if isinstance(constant.get(name), float) else '',
        )
        for name, value in results['metrics'].items()
    ]
    frames = f'{results["num_frames"]} frames, ' if 'num_frames' in results else ''
    return (
        f'{frames}config `{results.get("config", "unknown")}`, measured before the weights were '
        'published.\n\n' + _table(('metric', 'model', 'constant predictor'), rows)
    )


def _table(head: tuple[str, ...], rows: list[tuple]) -> str:
    lines = [head, ('---',) * len(head), *rows]
    return '\n'.join(
        f'| {" | ".join(str(cell).replace("|", " ") for cell in line)} |' for line in lines
    )


def _code(text: object) -> str:
    return f'`{text}`'


def _type(part: Any) -> str:
    return str(part.get('type')) if isinstance(part, Mapping) else 'none'
