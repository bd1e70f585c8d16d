"""PNG pictures that no library would write."""

import struct
import zlib


def png_bytes(width: int, height: int, bits: int, kind: int, rows: bytes) -> bytes:
    """A PNG, written chunk by chunk."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        )

    header = struct.pack('>IIBBBBB', width, height, bits, kind, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(rows))
        + chunk(b'IEND', b'')
    )
