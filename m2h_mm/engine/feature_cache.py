"""The features of a frozen backbone on disk, one file per image."""

from __future__ import annotations

import io
import logging
from hashlib import blake2b
from pathlib import Path
from zlib import crc32

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from m2h_mm.structures import Features
from m2h_mm.system import write_atomically

CHECKSUM_BYTES = 4
# Of one image, by kind: the tensors, each with the stride of the batch that it was computed in.
Entry = dict[str, list[tuple[int, Tensor]] | None]


class FeatureCache:
    """Stands in for the forward of a backbone that does not change.

    A file is named by what the backbone sees, the pixels of one image after the preprocessing, and
    by what it does: its weights and ``description``, the device's kind, torch's version and the
    precision of autocast. What is missing or damaged is computed and written. Several processes may
    share a folder.

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
        entries = [self._read(path) for path in paths]
        missing = [index for index, entry in enumerate(entries) if entry is None]
        self.images += len(images)
        self.found += len(images) - len(missing)
        if missing:
            # The whole batch as it is: the same kernels, and so the same digits, as without a
            # cache.
            computed = self._compute(images if len(missing) == len(images) else images[missing])
            for row, index in enumerate(missing):
                entries[index] = {
                    kind: tensors and [(tensor.stride(0), tensor[row]) for tensor in tensors]
                    for kind, tensors in computed.items()
                }
                self._write(paths[index], entries[index])
        maps, cls_tokens = (
            self._stack([entry[kind] for entry in entries], images.device)
            for kind in ('maps', 'cls_tokens')
        )
        return Features(maps=maps, cls_tokens=cls_tokens)

    def _compute(self, images: Tensor) -> dict[str, list[Tensor] | None]:
        output = self.compute(images)
        if not isinstance(output, Features):
            output = Features(maps=(output,) if isinstance(output, Tensor) else tuple(output))
        return {
            kind: tensors and [tensor.to(self.dtype or tensor.dtype) for tensor in tensors]
            for kind, tensors in (('maps', output.maps), ('cls_tokens', output.cls_tokens))
        }

    def _stack(
        self, rows: list[list[tuple[int, Tensor]] | None], device: torch.device
    ) -> tuple[Tensor, ...] | None:
        if rows[0] is None:
            return None
        batches = []
        for images in zip(*rows, strict=True):
            first = images[0][1]
            # Laid out in memory as the backbone does, the stride of a batch of one included:
            # convolutions choose their kernels by it, and these round differently.
            step = max(step for step, _ in images)
            if len(images) > 1:
                step = max(step, first.numel())
            batch = torch.empty_strided(
                (len(images), *first.shape),
                (step, *first.stride()),
                dtype=torch.float32 if self.dtype else first.dtype,
                device=device,
            )
            for row, (_, tensor) in zip(batch, images, strict=True):
                row.copy_(tensor)
            batches.append(batch)
        return tuple(batches)

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
        return torch.load(io.BytesIO(payload), weights_only=True)

    def _write(self, path: Path, entry: Entry) -> None:
        if self.full:
            return
        buffer = io.BytesIO()
        # A clone, as torch saves all memory behind a tensor, which is that of the batch.
        torch.save(
            {
                kind: tensors and [(step, tensor.clone().cpu()) for step, tensor in tensors]
                for kind, tensors in entry.items()
            },
            buffer,
        )
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


def _bytes_of(tensor: Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _checksum(payload: bytes | memoryview) -> bytes:
    return crc32(payload).to_bytes(CHECKSUM_BYTES, 'little')
