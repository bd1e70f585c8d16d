import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


setup(
    name='m2h_mm',
    version=re.search(r"__version__ = '(.+)'", (ROOT / 'm2h_mm' / '__init__.py').read_text())[1],
    description='Multi-task dense prediction on OpenMMLab: M2H and its alternatives, one config '
    'line apart',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['m2h_mm', 'm2h_mm.*']),
    python_requires='>=3.10',
    install_requires=['torch>=2.6', *requirements('runtime')],
    extras_require={
        # Two families of distributions provide the import names mmengine, mmcv and mmseg: install
        # one of them.
        'onedl': requirements('onedl'),
        'openmmlab': ['mmengine', 'mmcv-lite', 'mmsegmentation'],
        'tensorboard': ['tensorboard'],
        'export': requirements('export'),
        'web': requirements('web'),
        'dev': requirements('dev') + requirements('export') + requirements('web'),
    },
)
