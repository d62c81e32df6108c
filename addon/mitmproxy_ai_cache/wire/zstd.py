"""Zstandard (RFC 8878): Python's own from 3.14 on, the same module from PyPI before."""

import sys

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdCompressor, ZstdDecompressor, ZstdError, compress, get_frame_info
else:
    from backports.zstd import ZstdCompressor, ZstdDecompressor, ZstdError, compress, get_frame_info

__all__ = ["ZstdCompressor", "ZstdDecompressor", "ZstdError", "compress", "get_frame_info"]
