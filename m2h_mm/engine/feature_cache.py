"""The features of a frozen backbone on disk, one file per image."""

from __future__ import annotations

import io
import logging
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from m2h_mm.structures import Features
from m2h_mm.structures.features import map_tensors
from m2h_mm.system import write_atomically

CHECKSUM_BYTES = 4
# Of the files. One of another format is computed anew, like one that is damaged.
FORMAT = 2
# How many times its own size an image may be away from the next one of its batch.
MOST_APART = 64


class Entry(NamedTuple):
    """The features of one image.

    Attributes:
        features: :meth:`Features.as_dict` with tensors that have no batch dimension.
        steps: of each tensor, in their order, the stride of the batch that it was computed in.
    """

    features: dict[str, Any]
    steps: list[int]


class FeatureCache:
    """Stands in for the forward of a backbone that does not change.

    A file is named by what the backbone sees, the pixels of one image after the preprocessing, and
    by what it does: its weights and ``description``, the device's kind, torch's version and the
    precision of autocast. What is missing or damaged is computed and written. Several processes may
    share a folder.

    All of :class:`Features` is kept; every tensor in it has the batch as its first dimension.

    Args:
        backbone: in eval mode, not trained.
        description: what decides its output beside its weights.
        folder: of the files, ``<fingerprint>/<two digits>/<image>.pt``.
        dtype: that features are rounded to, those just computed as well as those read; they come as
            float32. None: as computed.
        max_bytes: nothing more is written once ``folder`` holds as much; what other processes write
            meanwhile does not count.

    Attributes:
        images, found: how many were asked for, and how many of these were read.
    """

    def __init__(
        self,
        backbone: nn.Module,
        description: str,
        folder: str | Path,
        dtype: torch.dtype | None,
        max_bytes: float,
    ) -> None:
        self.backbone, self.compute = backbone, backbone.forward
        self.description = f'{description} torch={torch.__version__} dtype={dtype}'
        self.folder = Path(folder)
        self.dtype, self.max_bytes = dtype, max_bytes
        self.fingerprint = self.current_fingerprint()
        self.bytes = sum(path.stat().st_size for path in self.folder.rglob('*.pt'))
        self.full = False
        self.images = self.found = 0

    def current_fingerprint(self) -> str:
        """Of the backbone as it is now."""
        digest = blake2b(self.description.encode(), digest_size=8)
        for name, tensor in self.backbone.state_dict().items():
            digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
            digest.update(_bytes_of(tensor.cpu()))
        return digest.hexdigest()

    @torch.compiler.disable
    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """``(N, 3, H, W)`` to what the backbone makes of them; it is given only those that have no
        file.
        """
        paths = self._paths(images)
        entries = self._without_odd([self._read(path) for path in paths])
        missing = [index for index, entry in enumerate(entries) if entry is None]
        self.images += len(images)
        self.found += len(images) - len(missing)
        if missing:
            # The whole batch as it is: the same kernels, and so the same digits, as without a
            # cache.
            computed = self._compute(images if len(missing) == len(images) else images[missing])
            steps: list[int] = []
            map_tensors(lambda tensor: steps.append(tensor.stride(0)), computed)
            for row, index in enumerate(missing):
                image = map_tensors(lambda tensor, row=row: tensor[row], computed)
                entries[index] = Entry(image, steps)
                self._write(paths[index], entries[index])
        return self._stack(entries, images.device)

    def _compute(self, images: Tensor) -> dict[str, Any]:
        def rounded(tensor: Tensor) -> Tensor:
            return tensor.to(self.dtype) if self.dtype and tensor.is_floating_point() else tensor

        return map_tensors(rounded, Features.of(self.compute(images)).as_dict())

    def _stack(self, entries: list[Entry], device: torch.device) -> Features:
        """The batch of these images, laid out in memory as the backbone does, the stride of a batch
        of one included: convolutions choose their kernels by it, and these round differently.
        """
        steps = map(max, zip(*(entry.steps for entry in entries), strict=True))

        def batch(first: Tensor, *others: Tensor) -> Tensor:
            step = next(steps)
            batch = torch.empty_strided(
                (1 + len(others), *first.shape),
                (max(step, first.numel()) if others else step, *first.stride()),
                dtype=torch.float32 if first.dtype == self.dtype else first.dtype,
                device=device,
            )
            for row, tensor in zip(batch, (first, *others), strict=True):
                row.copy_(tensor)
            return batch

        first, *others = (entry.features for entry in entries)
        return Features.from_dict(map_tensors(batch, first, *others))

    def _paths(self, images: Tensor) -> list[Path]:
        kind = images.device.type
        precision = (
            torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else images.dtype
        )
        context = f'{kind} {precision} {tuple(images.shape[1:])}'.encode()
        names = (
            blake2b(context + _bytes_of(image), digest_size=16).hexdigest()
            for image in images.cpu()
        )
        return [self.folder / self.fingerprint / name[:2] / f'{name[2:]}.pt' for name in names]

    def _read(self, path: Path) -> Entry | None:
        try:
            content = path.read_bytes()
        except OSError:  # mostly, that there is none
            return None
        payload = memoryview(content)[CHECKSUM_BYTES:]
        if content[:CHECKSUM_BYTES] != _checksum(payload):
            print_log(
                f'FeatureCacheHook: {path} is damaged and computed anew.',
                'current',
                logging.WARNING,
            )
            return None
        try:
            found = torch.load(io.BytesIO(payload), map_location='cpu', weights_only=True)
            if found.get('format') != FORMAT:  # written by another version of this package
                return None
            entry = Entry(found['features'], found['steps'])
            usable = _is_usable(entry)
        except Exception:  # of a file that something else has written, nearly anything
            usable = False
        if not usable:
            print_log(
                f'FeatureCacheHook: {path} holds no features and is computed anew.',
                'current',
                logging.WARNING,
            )
            return None
        return entry

    def _without_odd(self, entries: list[Entry | None]) -> list[Entry | None]:
        """None in place of all where their shapes differ, which those of one batch never do."""
        layouts = [_layout(entry) for entry in entries if entry is not None]
        if all(layout == layouts[0] for layout in layouts):
            return entries
        print_log(
            f'FeatureCacheHook: files in {self.folder / self.fingerprint} hold features of other '
            'shapes than their neighbours; they are computed anew.',
            'current',
            logging.WARNING,
        )
        return [None] * len(entries)

    def _write(self, path: Path, entry: Entry) -> None:
        if self.full:
            return
        buffer = io.BytesIO()
        # A clone, as torch saves all memory behind a tensor, which is that of the batch.
        features = map_tensors(lambda tensor: tensor.clone().cpu(), entry.features)
        torch.save(dict(format=FORMAT, features=features, steps=entry.steps), buffer)
        payload = buffer.getbuffer()
        if self.bytes + len(payload) > self.max_bytes:
            self._stop(f'{self.folder} holds {self.bytes / 2**30:.2f} GiB, all that max_gib allows')
            return
        try:
            write_atomically(path, _checksum(payload) + payload)
            self.bytes += CHECKSUM_BYTES + len(payload)
        except OSError as error:
            self._stop(f'{path} cannot be written ({error})')

    def _stop(self, reason: str) -> None:
        self.full = True
        print_log(
            f'FeatureCacheHook: {reason}. Nothing more is written; what is there is used.',
            'current',
            logging.WARNING,
        )


def _is_usable(entry: Entry) -> bool:
    tensors: list[Tensor] = []
    map_tensors(tensors.append, entry.features)
    names = {item.name for item in fields(Features)}
    return (
        bool(tensors)
        and entry.features.keys() == names
        and len(entry.steps) == len(tensors)
        # Memory is laid out by them: a wrong one would ask for all there is.
        and all(
            type(step) is int and 0 <= step <= MOST_APART * tensor.numel()
            for step, tensor in zip(entry.steps, tensors, strict=True)
        )
    )


def _layout(entry: Entry) -> Any:
    return map_tensors(lambda tensor: (tensor.shape, tensor.dtype), entry.features)


def _bytes_of(tensor: Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _checksum(payload: bytes | memoryview) -> bytes:
    return crc32(payload).to_bytes(CHECKSUM_BYTES, 'little')
