"""NYU Depth v2 from its official files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from m2h_mm.datasets.nyud import CROP_ORIGINS, FULL_CAMERA, FULL_SIZE
from m2h_mm.geometry.normal_convention import parse_axes, to_ours
from m2h_mm.geometry.plane_fit import normals_from_planes
from m2h_mm.tasks import Normals

from .edges import edges_from_ids
from .job import Files, SourceFrame, convert_frames

ARCHIVE, SPLITS, CLASSES = 'nyu_depth_v2_labeled.mat', 'splits.mat', 'classMapping40.mat'
LAYOUT = f"""Expected:
  {{root}}/
    {ARCHIVE}   the labelled data set, from the page of the NYU Depth Dataset V2
    {SPLITS}                 the official split, from the same page
    {CLASSES}         894 names to 40 classes (Gupta et al., CVPR 2013)"""
CROPS = {'full': FULL_SIZE, 'toolkit': (427, 561), 'eigen': (426, 560), 'mt': (425, 560)}
DEPTHS = {'filled': 'depths', 'raw': 'rawDepths'}
SPLIT_VARIABLES = {'train': 'trainNdxs', 'val': 'testNdxs'}
# 40 classes to 13: bed, books, ceiling, chair, floor, furniture, objects, picture, sofa, table, tv,
# wall, window.
NYU40_TO_NYU13 = (
    12,
    5,
    6,
    1,
    4,
    9,
    10,
    12,
    13,
    6,
    8,
    6,
    13,
    10,
    6,
    13,
    6,
    7,
    7,
    5,
    7,
    3,
    2,
    6,
    11,
    7,
    7,
    7,
    7,
    7,
    7,
    6,
    7,
    7,
    7,
    7,
    7,
    7,
    6,
    7,
)
_INSTANCE_BITS = 8
_NORMALS_SUFFIXES = ('.png', '.npy')


@dataclass(frozen=True)
class _Recipe:
    """What the files of a frame depend on besides its number: see :func:`convert_nyud`."""

    archive: Path
    crop: str
    class_table: np.ndarray
    depth: str
    normals_axes: str | None

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the crop's first pixel."""
        return CROP_ORIGINS.get(CROPS[self.crop], (0, 0))

    def cut(self, map: np.ndarray) -> np.ndarray:
        """The crop of a full frame ``(H, W, ...)``."""
        (top, left), (height, width) = self.origin, CROPS[self.crop]
        return map[top : top + height, left : left + width]


def convert_nyud(
    source_root: str | Path,
    out_dir: str | Path,
    crop: str = 'mt',
    num_classes: int = 40,
    depth: str = 'filled',
    normals_dir: str | Path | None = None,
    normals_convention: str | None = None,
    num_workers: int | None = None,
    allow_missing: bool = False,
) -> None:
    """Convert the labelled frames of NYU Depth v2 to the layout of NYUD-MT.

    Frame ids are the tool kit's numbers, 0001 to 1449. Edges are the borders between instances;
    what is not labelled counts as one. Normals are fitted to the raw depth, whatever ``depth``
    says: what is painted in between has surfaces that nobody measured.

    Args:
        source_root: folder with the official files.
        out_dir: where the converted frames go.
        crop: 'full' 480x640; 'toolkit' 427x561, where the depth camera sees too; 'eigen' 426x560;
            'mt' 425x560, the size of the later NYUD-MT releases.
        num_classes: 40 or 13.
        depth: 'filled', the tool kit's in-painted depth; or 'raw', 0 where nothing was measured.
        normals_dir: take the normals from here instead: ``.png`` or ``.npy`` files, in subfolders
            or not, named by the frames' numbers, of the full frame or the crop. A frame without a
            file has no normals.
        normals_convention: what their channels hold: a name or axes, see
            :func:`~m2h_mm.geometry.normal_convention.parse_axes`.
        num_workers, allow_missing: see :func:`~m2h_mm.datasets.converters.job.convert_frames`.

    Raises:
        FileNotFoundError: files are missing.
        ValueError: an option other than the above, files of another format, or see
            ``convert_frames``.
    """
    source_root = Path(source_root)
    _require_options(crop, num_classes, depth, normals_dir, normals_convention)
    missing = [name for name in (ARCHIVE, SPLITS, CLASSES) if not (source_root / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f'{source_root} has no {", ".join(missing)}. {LAYOUT.format(root=source_root)}'
        )
    normals = None if normals_dir is None else _index_normals(Path(normals_dir))
    axes = None if normals is None else parse_axes(normals_convention)
    recipe = _Recipe(
        source_root / ARCHIVE,
        crop,
        _read_class_table(source_root / CLASSES, num_classes),
        depth,
        axes,
    )
    try:
        count = _count_frames(recipe.archive, DEPTHS[depth])
        fx, fy, cx, cy = FULL_CAMERA
        camera = (fx, fy, cx - recipe.origin[1], cy - recipe.origin[0])
        frames = [
            SourceFrame(f'{number:04d}', split, (number, (normals or {}).get(number)), camera)
            for split, numbers in _read_splits(source_root / SPLITS, count).items()
            for number in numbers
        ]
        settings = dict(
            dataset='NYU Depth v2',
            crop=crop,
            num_classes=num_classes,
            depth=depth,
            normals='fitted to the raw depth' if axes is None else f'official, {axes}',
        )
        convert_frames(
            frames,
            partial(_convert_frame, recipe),
            out_dir,
            source_root,
            settings,
            num_workers,
            allow_missing,
        )
    finally:
        _open.cache_clear()


def _require_options(
    crop: str,
    num_classes: int,
    depth: str,
    normals_dir: str | Path | None,
    normals_convention: str | None,
) -> None:
    for name, value, known in (
        ('crop', crop, CROPS),
        ('depth', depth, DEPTHS),
        ('classes', num_classes, (40, 13)),
    ):
        if value not in known:
            raise ValueError(f'--{name}: expected one of {list(known)}, got {value!r}.')
    if (normals_dir is None) != (normals_convention is None):
        raise ValueError(
            f'--normals-dir and --normals-convention: expected both or none, got {normals_dir} '
            f'and {normals_convention}.'
        )


@lru_cache(maxsize=1)
def _open(path: Path) -> h5py.File:
    """The archive, opened once in each process."""
    try:
        return h5py.File(path, 'r')
    except OSError as error:
        raise ValueError(
            f'{path} cannot be opened ({error}). Expected the HDF5 file of the official '
            'download, whole: get it again.'
        ) from error


def _count_frames(path: Path, depth_name: str) -> int:
    """The number of frames in the archive, after all that is read of it was found to be there."""
    archive = _open(path)
    size = FULL_SIZE[::-1]
    count = len(archive['images']) if 'images' in archive else 0
    for name in ('images', 'labels', 'instances', 'rawDepths', depth_name):
        expected = (count, 3, *size) if name == 'images' else (count, *size)
        found = archive[name].shape if name in archive else 'nothing of that name'
        if found != expected:
            raise ValueError(
                f'{path}: expected {name} of shape {expected} (axes reversed, as HDF5 stores '
                f'those of MATLAB), found {found}. It is not {ARCHIVE}.'
            )
    return count


def _load_variable(path: Path, name: str) -> np.ndarray:
    try:
        return scipy.io.loadmat(path, variable_names=[name])[name].ravel().astype(int)
    except Exception as error:  # SciPy raises nearly anything on damaged files
        raise ValueError(
            f'{path}: the variable {name} cannot be read ({error!r}). Expected the file of the '
            'official download: get it again.'
        ) from error


def _read_splits(path: Path, count: int) -> dict[str, list[int]]:
    """Split to the numbers of its frames, from 1."""
    splits = {
        split: sorted(_load_variable(path, name).tolist())
        for split, name in SPLIT_VARIABLES.items()
    }
    numbers = [number for split in splits.values() for number in split]
    if len(set(numbers)) < len(numbers) or not numbers or min(numbers) < 1 or max(numbers) > count:
        raise ValueError(
            f'{path}: expected trainNdxs and testNdxs with numbers 1..{count} of {ARCHIVE}, each '
            f'once; got {len(numbers)} numbers, {len(set(numbers))} different ones, '
            f'{min(numbers, default=0)}..{max(numbers, default=0)}.'
        )
    return splits


def _read_class_table(path: Path, num_classes: int) -> np.ndarray:
    """Label in the archive to class, uint8, 0 = void."""
    classes = _load_variable(path, 'mapClass')
    if not classes.size or classes.min() < 1 or classes.max() > len(NYU40_TO_NYU13):
        raise ValueError(
            f'{path}: expected classes 1..{len(NYU40_TO_NYU13)} in mapClass, found '
            f'{np.unique(classes)}.'
        )
    if num_classes != len(NYU40_TO_NYU13):
        classes = np.array(NYU40_TO_NYU13)[classes - 1]
    return np.concatenate(([0], classes)).astype(np.uint8)


def _index_normals(folder: Path) -> dict[int, Path]:
    """Frame number to file."""
    found: dict[int, Path] = {}
    for path in sorted(folder.rglob('*')):
        if path.suffix in _NORMALS_SUFFIXES and path.stem.isdecimal():
            other = found.setdefault(int(path.stem), path)
            if other != path:
                raise ValueError(
                    f'--normals-dir: {other} and {path} are both of frame {int(path.stem)}. Name '
                    'a folder with one file for each frame.'
                )
    if not found:
        raise FileNotFoundError(
            f'--normals-dir: no {" or ".join(_NORMALS_SUFFIXES)} in {folder} that is named by '
            'the number of a frame, such as 0001.png.'
        )
    return found


def _convert_frame(recipe: _Recipe, source: tuple[int, Path | None]) -> Files:
    number, normals_file = source

    def read(name: str) -> np.ndarray:
        try:
            return _open(recipe.archive)[name][number - 1].T
        except Exception as error:  # h5py raises nearly anything on damaged files
            raise ValueError(
                f'{recipe.archive}: {name} of frame {number} cannot be read ({error}). The file '
                'is damaged: get it again.'
            ) from error

    labels, raw_depth = recipe.cut(read('labels')), read('rawDepths')
    if labels.max() >= len(recipe.class_table):
        raise ValueError(
            f'{recipe.archive}: frame {number} has label {labels.max()}, but {CLASSES} maps '
            f'1..{len(recipe.class_table) - 1} only.'
        )
    instances = recipe.cut(read('instances'))
    files = dict(
        images=recipe.cut(read('images')),
        segmentation=recipe.class_table[labels],
        depth=recipe.cut(raw_depth if recipe.depth == 'raw' else read(DEPTHS[recipe.depth])).astype(
            np.float32
        ),
        # Instances are counted anew in each class.
        edge=edges_from_ids(labels.astype(np.int32) << _INSTANCE_BITS | instances),
    )
    if recipe.normals_axes is None:
        files['normals'] = Normals().to_png(recipe.cut(normals_from_planes(raw_depth, FULL_CAMERA)))
    elif normals_file is not None:
        files['normals'] = Normals().to_png(_read_normals(normals_file, recipe))
    return files


def _read_normals(path: Path, recipe: _Recipe) -> np.ndarray:
    task = Normals()
    label = task.read(path)
    for doubt in task.inspect(path, label):
        if doubt.certain:
            raise ValueError(
                f'{path}: {doubt.what}. Store vectors in floating point, or (n + 1) / 2 * 255 in '
                '8 bits.'
            )
    normals = label.value
    if normals.shape[:2] == FULL_SIZE:
        normals = recipe.cut(normals)
    if normals.shape[:2] != CROPS[recipe.crop]:
        raise ValueError(
            f'{path} is {normals.shape[0]}x{normals.shape[1]}; expected the full frame, '
            f'{FULL_SIZE[0]}x{FULL_SIZE[1]}, or the size of --crop {recipe.crop}.'
        )
    return to_ours(normals, recipe.normals_axes)
