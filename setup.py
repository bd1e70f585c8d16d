import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# Where OpenMMLab's `mim` looks in an installed package.
SHIPPED = Path('m2h_mm') / '.mim'
DEV = ('dev', 'bags', 'docs', 'export', 'hf', 'hub', 'mapping', 'pretrained', 'web')


class BuildWithConfigs(build_py):
    """Put configs and tools, which stand beside the package in a checkout, into it.

    An editable installation uses those of the checkout.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source in self.shipped_files():
            target = Path(self.build_lib) / SHIPPED / source
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        shipped = [str(Path(self.build_lib) / SHIPPED / source) for source in self.shipped_files()]
        return super().get_outputs(include_bytecode) + ([] if self.editable_mode else shipped)

    @staticmethod
    def shipped_files() -> list[Path]:
        return [
            path.relative_to(ROOT)
            for pattern in (
                'model-index.yml',
                'configs/**/*.py',
                'configs/*/metafile.yml',
                'tools/**/*.py',
                'tools/*.sh',
            )
            for path in sorted(ROOT.glob(pattern))
        ]


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
    package_data={'m2h_mm': ['pretrained/*.safetensors']},
    cmdclass={'build_py': BuildWithConfigs},
    entry_points={'console_scripts': ['m2h-mm = m2h_mm.cli.main:main']},
    python_requires='>=3.10',
    install_requires=['torch>=2.6', *requirements('runtime')],
    extras_require={
        # Two families of distributions provide the import names mmengine, mmcv and mmseg: install
        # one of them.
        'onedl': requirements('onedl'),
        'openmmlab': ['mmengine', 'mmcv-lite', 'mmsegmentation'],
        'tensorboard': ['tensorboard'],
        'export': requirements('export'),
        'pretrained': requirements('pretrained'),
        'hf': requirements('hf'),
        'timm': requirements('timm'),
        'mapping': requirements('mapping'),
        'rerun': requirements('rerun'),
        'web': requirements('web'),
        'bags': requirements('bags'),
        'hub': requirements('hub'),
        'docs': requirements('docs'),
        'dev': [
            requirement
            for name in (
                'dev',
                'bags',
                'docs',
                'export',
                'hf',
                'hub',
                'mapping',
                'pretrained',
                'web',
            )
            for requirement in requirements(name)
        ],
    },
)
