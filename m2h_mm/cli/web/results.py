"""What the web page shows of an uploaded image, and the files that it offers for download."""

from __future__ import annotations

import io
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image, ImageOps

from m2h_mm.datasets.photo_camera import camera_of_file
from m2h_mm.geometry.pinhole import DEFAULT_FOV, camera_of_view, check_camera
from m2h_mm.inference import M2HInferencer, Prediction
from m2h_mm.mapping.depth_mesh import triangulate, write_glb
from m2h_mm.mapping.point_cloud import point_cloud
from m2h_mm.models.pipeline import MAX_INPUT_PIXELS, Size, limit_area
from m2h_mm.structures.image_file import read_image
from m2h_mm.system.files import replacing
from m2h_mm.tasks.view import build_view
from m2h_mm.visualization import save_picture
from m2h_mm.visualization.drawing import WHITE, fit_scale, outlined, rescale, stack, text_block
from m2h_mm.visualization.legends import draw_key
from m2h_mm.visualization.panels import draw_panel, shown_of_sample

FORMATS = ('PNG', 'JPEG', 'WEBP', 'BMP', 'GIF')
"""Those that browsers show too. Others are not even tried: some decoders start programs."""
MAX_UPLOAD_BYTES = 32 * 2**20
MAX_UPLOAD_PIXELS = 2**24
MAX_PADDED_PIXELS = MAX_INPUT_PIXELS * 5 // 4
MAX_MESH_POINTS = 2**17
"""A file of 6 megabytes; the browser is sent it with every prediction."""
PANEL_SIZE = 960


class UploadError(ValueError):
    """The uploaded file is no image that the page takes."""


@dataclass
class WebResult:
    """What became of an upload.

    Attributes:
        pictures: task to its map in colours above the key to them, ``(H', W', 3)`` uint8 RGB.
        archive: a zip of the maps as :meth:`M2HInferencer.write_maps` writes them, the pictures as
            ``pictures/<task>.png`` and, where there is a depth, ``<name>.ply``.
        surface: a GLB file, None where there is no depth or all of it was left out.
        note: sizes and time, in a sentence or two.
    """

    pictures: dict[str, np.ndarray]
    archive: Path
    surface: Path | None
    note: str


def load_models(
    checkpoints: Sequence[str | Path],
    configs: Sequence[str] | None = None,
    device: str | None = None,
) -> dict[str, M2HInferencer]:
    """Load the models of a page, by name: that of the checkpoint's file, with its folder where
    several have the same.

    Args:
        checkpoints: of the models.
        configs: names or paths, one per checkpoint. Default: what the checkpoints say.
        device: see :class:`M2HInferencer`.

    Raises:
        ValueError: not as many configs as checkpoints; a model that cannot be loaded, by its name.
    """
    if configs is not None and len(configs) != len(checkpoints):
        raise ValueError(
            f'--config: expected one per checkpoint, got {len(configs)} for {len(checkpoints)}.'
        )
    models: dict[str, M2HInferencer] = {}
    stems = [Path(checkpoint).stem for checkpoint in checkpoints]
    for index, (stem, checkpoint) in enumerate(zip(stems, checkpoints, strict=True)):
        config = configs[index] if configs else None
        name = stem if stems.count(stem) == 1 else f'{Path(checkpoint).with_suffix("")}'
        name = str(checkpoint) if name in models else name  # a.pth beside a.pt
        try:
            models[name] = M2HInferencer(checkpoint, config, device, show_progress=False)
        except Exception as error:  # whatever a config may do
            with_config = f' with {config}' if config else ''
            raise ValueError(
                f'Model {checkpoint}{with_config} cannot be loaded: {error}'
            ) from error
    return models


def read_upload(path: str | Path) -> np.ndarray:
    """An uploaded file as ``(H, W, 3)`` uint8 RGB; its size is looked at before it is decoded.

    Raises:
        UploadError: too large, or no image.
    """
    name = Path(path).name
    try:
        data = Path(path).read_bytes()
    except OSError:
        raise UploadError(
            f'{name} is no longer on the server, which keeps uploads for a while only: drop it '
            'again.'
        ) from None
    if len(data) > MAX_UPLOAD_BYTES:
        raise UploadError(
            f'{name} has {len(data) / 2**20:.1f} megabytes; at most {MAX_UPLOAD_BYTES >> 20} are '
            'taken.'
        )
    if not data:
        raise UploadError(f'{name} has zero bytes.')
    expected = f'expected {", ".join(FORMATS[:-1])} or {FORMATS[-1]}'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        raise UploadError(
            f'{name} is far too large: at most {MAX_UPLOAD_PIXELS / 1e6:.1f} megapixels are taken.'
        ) from None
    except Exception as error:  # decoders raise nearly anything on what strangers make up
        raise UploadError(f'{name} is no image that can be read; {expected}.') from error
    if width * height > MAX_UPLOAD_PIXELS:
        raise UploadError(
            f'{name} has {width} × {height} pixels; at most {MAX_UPLOAD_PIXELS / 1e6:.1f} '
            'megapixels are taken.'
        )
    try:
        return read_image(data)
    except ValueError as error:
        raise UploadError(f'{name}: {error}') from error


def predict_upload(
    inferencer: M2HInferencer,
    path: str | Path,
    tasks: Sequence[str],
    size: Size,
    out_dir: str | Path,
) -> WebResult:
    """Predict the maps of an uploaded image.

    Args:
        inferencer: the model.
        path: of the upload; its name becomes that of the files in the archive.
        tasks: those wanted, at least one.
        size: at which the network sees the image, see :meth:`M2HInferencer.__call__`.
        out_dir: below it a folder is made for the files of this result.

    Raises:
        UploadError: see :func:`read_upload`.
        ValueError: no task or one that the model does not have; a size of more pixels than the
            network is given.
        OSError: the files cannot be written.
    """
    if not tasks:
        raise ValueError(f'Choose at least one of the tasks {", ".join(inferencer.tasks)}.')
    image = read_upload(path)
    pipeline = inferencer.pipeline
    height, width = pipeline.padded_size(pipeline.input_size(image.shape[:2], size))
    if height * width > MAX_PADDED_PIXELS:
        raise ValueError(
            f'The network would see {height} × {width} pixels, with padding; at most '
            f'{MAX_PADDED_PIXELS / 1e6:.1f} megapixels are shown to it. Choose a smaller size.'
        )
    started = perf_counter()
    # Maps arrive on the CPU: what a GPU still has to do is waited for.
    (prediction,) = inferencer.stream([(Path(path).stem, image)], tasks, size)
    seconds = perf_counter() - started
    pictures = {name: draw_map(inferencer, prediction, name) for name in prediction.maps}
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out_dir))
    try:
        with tempfile.TemporaryDirectory(dir=folder) as loose:
            inferencer.write_maps(prediction, loose)
            for name, picture in pictures.items():
                save_picture(picture, Path(loose) / 'pictures' / f'{name}.png')
            surface, camera_note = _write_space(prediction, path, Path(loose), folder)
            archive = _pack(Path(loose), folder / f'{prediction.name}.zip')
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return WebResult(
        pictures, archive, surface, f'{describe_sizes(prediction, seconds)} {camera_note}'.strip()
    )


def draw_map(inferencer: M2HInferencer, prediction: Prediction, name: str) -> np.ndarray:
    """A map in colours between its title and their key, on white: ``(H', W', 3)`` uint8 RGB."""
    view = build_view(inferencer.tasks[name])
    size = limit_area(prediction.image.shape[:2], MAX_INPUT_PIXELS)
    shown = shown_of_sample(view, prediction.sample, size, draw_gt=False)
    scale = fit_scale(size, PANEL_SIZE)
    height, width = rescale(np.empty(size, np.uint8), scale).shape
    text = max(13, round(max(height, width) / 30))
    panel = draw_panel(
        view, shown.prediction, view.limits(shown), scale, (height, width), text, 'no prediction'
    )
    names = inferencer.classes.get(name, ())
    key = draw_key(view, shown, names, max(width + 2, text * 11), text)
    heading = text_block([view.title], text, bold=True)
    card = stack([heading, outlined(panel), key], text // 2)
    return np.asarray(ImageOps.expand(card, text // 2, WHITE))


def describe_sizes(prediction: Prediction, seconds: float) -> str:
    """Sizes and time of a prediction, in words."""
    height, width = prediction.image.shape[:2]
    _, seen, (left, right, top, bottom) = prediction.sample.framing
    padded = (seen[0] + top + bottom, seen[1] + left + right)
    padding = f', padded to {padded[0]} × {padded[1]}' if padded != seen else ''
    return (
        f'{height} × {width} pixels (height × width). The network saw {seen[0]} × '
        f'{seen[1]}{padding}, and took {seconds:.2f} s from the image to its maps.'
    )


def thin(
    maps: Mapping[str, np.ndarray], camera: tuple[float, ...], most: int
) -> tuple[dict[str, np.ndarray], tuple[float, ...]]:
    """Every n-th row and column of maps ``(H, W, ...)`` of one size, so that at most ``most``
    pixels stay; the camera (fx, fy, cx, cy) that sees these.
    """
    height, width = next(iter(maps.values())).shape[:2]
    step = 1
    while -(-height // step) * -(-width // step) > most:
        step += 1
    return {name: map[::step, ::step] for name, map in maps.items()}, tuple(
        value / step for value in camera
    )


def _write_space(
    prediction: Prediction, path: str | Path, loose: Path, folder: Path
) -> tuple[Path | None, str]:
    """Write the PLY into ``loose``, the surface into ``folder``: path of the latter, and where the
    camera is from.
    """
    if 'depth' not in prediction.maps:
        return None, ''
    surface_maps = dict(depth=prediction.maps['depth'], colours=prediction.image)
    point_maps = surface_maps | {
        argument: prediction.maps[name]
        for argument, name in (('normals', 'normals'), ('edges', 'edge'))
        if name in prediction.maps
    }
    noted = camera_of_file(path)
    camera = noted or camera_of_view(prediction.image.shape[:2])
    try:
        check_camera(*camera, prediction.image.shape[:2])
    except ValueError:  # a strip a few pixels high
        return None, 'In space: nothing, as no camera sees an image of this shape.'
    # The network has not seen more pixels than these either.
    maps, lens = thin(point_maps, camera, MAX_INPUT_PIXELS)
    point_cloud(camera=lens, **maps).write_ply(loose / f'{prediction.name}.ply')
    # Edges are left in: those drawn on a wall would tear it.
    maps, lens = thin(surface_maps, camera, MAX_MESH_POINTS)
    cloud = point_cloud(camera=lens, **maps)
    triangles = triangulate(cloud, lens, maps['depth'].shape)
    note = (
        "In space: as wide as the photo's EXIF says."
        if noted
        else f'In space: a view {DEFAULT_FOV:g}° wide is assumed, as the file does not say.'
    )
    if not len(triangles):
        return None, 'In space: no surface, as all of it is seen at a grazing angle.'
    surface = folder / f'{prediction.name}.glb'
    write_glb(cloud, triangles, surface)
    return surface, note


def _pack(folder: Path, archive: Path) -> Path:
    """Zip all files below a folder, without compression, which takes seconds and gains little."""
    with replacing(archive) as temporary, zipfile.ZipFile(temporary, 'w') as file:
        for path in sorted(folder.rglob('*')):
            if path.is_file():
                file.write(path, path.relative_to(folder))
    return archive
