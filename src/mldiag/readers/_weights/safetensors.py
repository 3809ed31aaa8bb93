"""The header of the safetensors format.

Source: https://github.com/huggingface/safetensors, README and `safetensors/src/tensor.rs`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._weights.binary import HEADER_LIMIT, MAX_TENSORS, decoded, listed, shape_of, shown, sizes_of, window

DTYPES = {
    "BOOL": ("bool", 8), "U8": ("uint8", 8), "I8": ("int8", 8), "U16": ("uint16", 16), "I16": ("int16", 16),
    "U32": ("uint32", 32), "I32": ("int32", 32), "U64": ("uint64", 64), "I64": ("int64", 64), "F16": ("float16", 16),
    "BF16": ("bfloat16", 16), "F32": ("float32", 32), "F64": ("float64", 64), "C64": ("complex64", 64),
    "F8_E4M3": ("float8_e4m3fn", 8), "F8_E5M2": ("float8_e5m2", 8), "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8), "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "F4": ("float4_e2m1fn_x2", 4), "F6_E2M3": ("float6_e2m3", 6), "F6_E3M2": ("float6_e3m2", 6),
}  # fmt: skip
"""Name and bits of an element."""


def read(file: File) -> tuple[Checkpoint, str]:
    """What a file holds, and what is wrong with the rest of it; empty where nothing is.

    Raises:
        ReadError: the header cannot be read.
    """
    with window(file) as whole:
        length = whole.number(0, 8, "the length of the header")
        if length > HEADER_LIMIT:
            raise ReadError(
                f"no safetensors file: its header would have {length:,} bytes, more than the {HEADER_LIMIT:,} allowed"
            )
        entries = header(whole.read(8, length, "the header"))
    metadata = entries.pop("__metadata__", None)
    if len(entries) > MAX_TENSORS:
        raise ReadError(f"{len(entries):,} tensors, more than the {MAX_TENSORS:,} that are read")
    tensors, troubles = tensors_of(entries, 8 + length)
    texts = {k: v for k, v in metadata.items() if isinstance(v, str)} if isinstance(metadata, dict) else {}
    found = Checkpoint("safetensors", tuple(tensors), file.at(), texts)
    if troubles:
        return found, f"{len(troubles):,} of {len(entries):,} tensors are wrong: {listed(troubles)}"
    end = max(((t.offset or 0) + (t.size or 0) for t in tensors), default=8 + length)
    if end != file.size:
        state = "is cut" if file.size < end else "is longer than its header says"
        return found, f"{file.size:,} bytes where the header asks for {end:,}: the file {state}"
    return found, ""


def header(data: bytes) -> dict[str, Any]:
    """The entries of a header."""
    if data[:1] != b"{":
        raise ReadError(f"no safetensors file: the header should begin with {{, found {data[:1]!r}")
    entries: object = decoded(data, "the header")
    if not isinstance(entries, dict):
        raise ReadError(f"the header should be a JSON object, found {type(entries).__name__}")
    return entries


def tensors_of(entries: Mapping[str, Any], start: int) -> tuple[list[Tensor], list[str]]:
    """The tensors of a header whose data begin at `start`, in the order they lie, and what is wrong with the others.

    Tensors of which only the end of the file is missing are kept: their names and shapes are known.
    """
    found, troubles = [], []
    for name, entry in entries.items():
        label = shown(name)
        if not isinstance(entry, dict):
            troubles.append(f"{label}: no object with dtype, shape and data_offsets")
            continue
        dtype, bits = DTYPES.get(str(entry.get("dtype")), ("", 0))
        shape, span = shape_of(entry.get("shape")), sizes_of(entry.get("data_offsets"))
        if not dtype:
            troubles.append(f"{label}: unknown type {str(entry.get('dtype'))[:20]}")
        elif shape is None or span is None or len(span) != 2 or span[0] > span[1]:
            troubles.append(f"{label}: no proper shape and offsets")
        elif math.prod(shape) * bits != (span[1] - span[0]) * 8:
            troubles.append(f"{label}: {span[1] - span[0]:,} bytes for shape {list(shape[:8])} of {dtype}")
        else:
            found.append(Tensor(name, shape, dtype, start + span[0], span[1] - span[0]))
    found.sort(key=lambda t: (t.offset or 0, t.size or 0))
    kept: list[Tensor] = []
    end = start
    for tensor in found:
        offset, size = tensor.offset or 0, tensor.size or 0
        if offset < end:
            troubles.append(f"{shown(tensor.name)}: overlaps the tensor before it")
        elif offset > end:
            troubles.append(f"{shown(tensor.name)}: {offset - end:,} unused bytes before it")
            kept.append(tensor)
        else:
            kept.append(tensor)
        end = max(end, offset + size)
    return kept, troubles
