"""The folders of the configs that come with this project, and the search by name."""

from __future__ import annotations

from pathlib import Path

from m2h_mm.system.spelling import did_you_mean

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parent
# In a checkout the configs stand beside the package. In an installed one they are in it, in the
# folder where OpenMMLab's `mim` looks for them.
CONFIGS = (
    _CHECKOUT / 'configs'
    if (_CHECKOUT / 'pyproject.toml').is_file()
    else _PACKAGE / '.mim' / 'configs'
)
BASE_DATASETS = CONFIGS / '_base_' / 'datasets'
SWEEPS = CONFIGS / 'sweeps'
# What in `configs` is no config of a training.
_OTHER_FOLDERS = ('_base_', 'ablations', 'sweeps')


def find_config(name: str | Path) -> Path:
    """The file of a config.

    Args:
        name: its path; or, of a config that comes with this project, its name
            (``'m2h_vits_nyud'``), or its path from ``configs/`` on, whatever the current folder.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = CONFIGS.parent / path
    if path.parts[:1] == ('configs',) and shipped.is_file():
        return shipped
    configs = {
        found.stem: found
        for found in CONFIGS.glob('*/*.py')
        if found.parent.name not in _OTHER_FOLDERS
    }
    if len(path.parts) == 1 and path.stem in configs:
        return configs[path.stem]
    raise FileNotFoundError(
        f'There is no config {name}, neither as a path nor by that name in {CONFIGS}.'
        + did_you_mean(path.stem, configs)
    )


def dataset_names() -> list[str]:
    """What ``--dataset`` may be: the names of the files in ``configs/_base_/datasets``."""
    return sorted(path.stem for path in BASE_DATASETS.glob('*.py'))
