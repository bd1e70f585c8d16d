"""The multi-task release of PASCAL-Context, converted to the layout of NYUD-MT."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import scipy.io
from PIL import Image

from m2h_mm.datasets.files import index_folder
from m2h_mm.datasets.pascal_context import VOC_CLASSES
from m2h_mm.datasets.transforms.loading import require_size
from m2h_mm.geometry.normal_convention import OURS, parse_axes, to_ours
from m2h_mm.system.paths import as_id, path_inside
from m2h_mm.system.text import read_text
from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.edge.thinning import thin
from m2h_mm.tasks.semseg import Semseg

from .job import IMAGES, Files, SourceFrame, convert_frames

PICTURES, LISTS, SPLITS = 'JPEGImages', 'ImageSets/Context', ('train', 'val')
# Where the release keeps each label, and in which kind of file. Of two folders, the first that has
# the frame counts.
SOURCES: dict[str, tuple[tuple[str, ...], str]] = dict(
    semseg=(('semseg/VOC12', 'semseg/pascal-context'), '.png'),
    human_parts=(('human_parts',), '.mat'),
    saliency=(('sal_distill',), '.png'),
    normals=(('normals_distill',), '.png'),
    label_map=(('pascal-context/trainval',), '.mat'),
)
FOLDERS = {
    name: task.folder
    for name, task in build_tasks(('semseg', 'human_parts', 'saliency', 'normals', 'edge')).items()
}

PERSON = 15
# The parts of a person in PASCAL-Part to the six of the multi-task literature, numbered as in
# HumanParts.
PARTS = {
    **dict.fromkeys(
        ('head', 'hair', 'leye', 'reye', 'lebrow', 'rebrow', 'lear', 'rear', 'nose', 'mouth'), 1
    ),
    **dict.fromkeys(('torso', 'neck'), 2),
    **dict.fromkeys(('luarm', 'ruarm'), 3),
    **dict.fromkeys(('llarm', 'rlarm', 'lhand', 'rhand'), 4),
    **dict.fromkeys(('luleg', 'ruleg'), 5),
    **dict.fromkeys(('llleg', 'rlleg', 'lfoot', 'rfoot'), 6),
}
# The normals come from a network that was trained on NYUD. Numbers in LabelMap of the classes whose
# names NYU's 40 classes share, and of tvmonitor, which is NYU's television.
NYU_CLASSES = dict(
    bag=9,
    bathtub=17,
    bed=18,
    box=37,
    cabinet=46,
    ceiling=68,
    chair=72,
    counter=96,
    curtain=105,
    door=115,
    floor=158,
    mirror=252,
    paper=273,
    person=284,
    picture=287,
    pillow=290,
    shelves=349,
    sink=357,
    sofa=368,
    table=397,
    toilet=408,
    towel=412,
    tvmonitor=427,
    wall=440,
    window=454,
)

VOID = 255
SALIENT_ABOVE = 127
MISSING_NORMAL = 127  # grey, which decodes to a vector of length 0.007


@dataclass(frozen=True)
class PascalFrame:
    """Where the files of a frame are: its image, and a label per key of ``SOURCES`` as far as there
    is one.
    """

    image: Path
    labels: dict[str, Path]


def convert_pascal_context(
    root: str | Path,
    out_dir: str | Path,
    convention: str = OURS,
    every_class: bool = False,
    num_workers: int | None = None,
    allow_missing: bool = False,
) -> None:
    """Convert the release; see :func:`convert_frames` for ``out_dir``, ``num_workers`` and
    ``allow_missing``.

    A frame without one of the label files lacks that label. How many have each is printed first.

    Args:
        root: the unpacked release.
        out_dir: the folder to make.
        convention: what the channels of the normals hold, see
            :func:`m2h_mm.geometry.normal_convention.parse_axes`.
        every_class: keep the normals of all pixels, not of ``NYU_CLASSES`` alone.

    Raises:
        FileNotFoundError: a folder or list of the release is not there.
        ValueError: an unknown convention; see also :func:`convert_frames`.
    """
    axes = parse_axes(convention)
    frames = find_frames(root)
    counts = {name: sum(name in frame.source.labels for frame in frames) for name in SOURCES}
    print(
        f'{len(frames)} frames in {root}; labels '
        + ', '.join(f'{name} {count}' for name, count in counts.items())
    )
    convert_frames(
        frames,
        partial(convert_frame, axes=axes, every_class=every_class),
        out_dir,
        root,
        dict(dataset='PASCAL-Context', normals=axes, normals_of_every_class=every_class),
        num_workers,
        allow_missing,
    )


def find_frames(root: str | Path) -> list[SourceFrame]:
    """The frames of both splits and where their files are.

    Raises:
        FileNotFoundError: a folder or list of the release is not there.
    """
    root = Path(root)
    wanted = [
        PICTURES,
        *(f'{LISTS}/{split}.txt' for split in SPLITS),
        *(folders[-1] for folders, _ in SOURCES.values()),
    ]
    missing = [path for path in wanted if not (root / path).exists()]
    if missing:
        raise FileNotFoundError(
            f'{root} is not the multi-task release of PASCAL-Context: there is no '
            f'{", no ".join(missing)}.\nExpected:\n'
            + '\n'.join(f'  {path}' for path in wanted)
            + '\nIt is the archive of ASTMT (Maninis et al., CVPR 2019), which MTI-Net, ATRC and '
            'InvPT use too: unpack '
            'it, and name the folder that holds JPEGImages.'
        )
    found: dict[str, dict[str, Path]] = {}
    for name, (folders, suffix) in SOURCES.items():
        found[name] = {}
        for folder in reversed(folders):
            found[name].update(
                index_folder(root / folder, [suffix]) if (root / folder).is_dir() else {}
            )
    frames = []
    for split in SPLITS:
        for frame_id in map(as_id, read_text(root / LISTS / f'{split}.txt').split()):
            labels = {name: files[frame_id] for name, files in found.items() if frame_id in files}
            frames.append(
                SourceFrame(
                    frame_id,
                    split,
                    PascalFrame(path_inside(root / PICTURES, f'{frame_id}.jpg', True), labels),
                )
            )
    return frames


def convert_frame(frame: PascalFrame, axes: str, every_class: bool) -> Files:
    """The files of a frame: its image as it is, and ``(H, W)`` or, for normals, ``(H, W, 3)`` uint8
    labels.

    Raises:
        ValueError: a file that is damaged, not of this kind, or of another size than the image.
    """
    size = read_picture(frame.image, 'RGB').shape[:2]
    read = dict(
        semseg=read_semseg,
        human_parts=partial(read_human_parts, size=size),
        saliency=read_saliency,
        normals=partial(read_normals, axes=axes),
        label_map=read_label_map,
    )
    labels = {}
    for name, path in frame.labels.items():
        labels[name] = read[name](path)
        require_size(name, path, labels[name].shape[:2], frame.image, size)
    label_map = labels.pop('label_map', None)
    if label_map is not None:
        labels['edge'] = label_map_edges(label_map)
    if 'normals' in labels and not every_class:
        if label_map is None:
            del labels['normals']  # nothing says where they count
        else:
            labels['normals'][~np.isin(label_map, list(NYU_CLASSES.values()))] = MISSING_NORMAL
    return {IMAGES: frame.image, **{FOLDERS[name]: label for name, label in labels.items()}}


# ---- files of the release
def read_picture(path: Path, mode: str | None = None) -> np.ndarray:
    """A picture in a mode of Pillow, or the numbers that it stores."""
    try:
        with Image.open(path) as picture:
            if mode is None and picture.mode not in ('L', 'P'):
                raise ValueError(f'it is {picture.mode}, not a map of numbers')
            return np.array(picture if mode is None else picture.convert(mode))
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise _unreadable(path, error) from error


def read_semseg(path: Path) -> np.ndarray:
    """Classes 0..20, 255 = void."""
    label = Semseg(len(VOC_CLASSES)).read(path)
    return np.where(label.valid, label.value, np.uint8(VOID))


def read_saliency(path: Path) -> np.ndarray:
    """255 where salient, which is above 127, else 0."""
    return np.where(read_picture(path, 'L') > SALIENT_ABOVE, 255, 0).astype(np.uint8)


def read_normals(path: Path, axes: str) -> np.ndarray:
    """Normals in our convention, stored as theirs are, (n + 1) / 2 * 255; what is black, no unit
    vector, is missing.
    """
    stored = read_picture(path, 'RGB')
    # In whole numbers, so that nothing is rounded: 2 c - 255 is 255 n.
    normals = ((to_ours(2 * stored.astype(np.int16) - 255, axes) + 255) // 2).astype(np.uint8)
    normals[~stored.any(axis=2)] = MISSING_NORMAL
    return normals


def read_label_map(path: Path) -> np.ndarray:
    """Numbers of PASCAL-Context's 459 classes."""
    try:
        return scipy.io.loadmat(path, variable_names='LabelMap')['LabelMap']
    except Exception as error:  # SciPy raises nearly anything on damaged files
        raise _unreadable(path, error) from error


def read_human_parts(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Parts 1..6, 0 = background, of a frame of ``size`` (H, W); all void if the parts of nobody
    are annotated.

    Where persons overlap, the later in the file is in front. A person without parts beside one that
    has some is background, as in the literature.
    """
    parts = np.zeros(size, np.uint8)
    try:
        for instance in scipy.io.loadmat(path, variable_names='anno')['anno'][0][0][1].ravel():
            if instance[1].item() != PERSON:
                continue
            for part in instance[3].ravel():
                name, mask = part[0].item(), part[1]
                if name not in PARTS:
                    raise ValueError(f'a person has a part {name!r}; known are {sorted(PARTS)}')
                parts[mask != 0] = PARTS[name]
    except Exception as error:  # SciPy raises nearly anything on damaged files
        raise _unreadable(path, error) from error
    return parts if parts.any() else np.full(size, VOID, np.uint8)


def label_map_edges(label_map: np.ndarray) -> np.ndarray:
    """255 on the boundaries between classes: where the Laplacian of the numbers is not 0, thinned;
    else 0.

    That is the literature's definition. Unlike :func:`edges_from_ids` it marks both sides of a
    boundary, and misses a pixel whose number happens to be the mean of its four neighbours'.
    """
    return thin(cv2.Laplacian(label_map.astype(np.float64), cv2.CV_64F) != 0).astype(np.uint8) * 255


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f'{path} cannot be read ({error}). Expected an intact {path.suffix} of the multi-task '
        'release of PASCAL-Context: restore it.'
    )
