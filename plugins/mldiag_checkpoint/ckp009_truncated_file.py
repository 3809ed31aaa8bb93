"""CKP009: checkpoints whose bytes are not all there, or not as they were written."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Evidence, Finding, Fix, NotApplicable, Run, Severity, Source, Unread, rule

_READERS = frozenset({
    "safetensors", "checkpoint_index", "pytorch", "hdf5", "gguf", "onnx", "tensorflow_checkpoint",
    "flax_msgpack", "numpy_arrays",
})  # fmt: skip
_ENDINGS = (".safetensors", ".index.json", ".pt", ".pth", ".ckpt", ".pt.tar", ".pth.tar", ".h5", ".hdf5", ".keras",
            ".gguf", ".onnx", ".index", ".msgpack", ".npz", ".npy", ".mpk", ".th", ".pkl")  # fmt: skip
_CUT = ("cut file", "is cut", "file is empty", "ends within", "the file ends", "are missing", "is missing",
        "have no bytes", "are not in their file", "where the index asks for", "where the header asks for")  # fmt: skip
_DAMAGED = ("damaged", "longer than its header", "does not fit its checksum", "cannot be unpacked", "overlap",
            "reach beyond", "is not valid json", "lie on each other", "tensors are wrong", "no object header at",
            "neither a zip archive nor a pickle", "should begin with")  # fmt: skip
_NOT_THERE = ("git lfs", "pointer")


@rule("CKP009", severity="error")
def truncated_file(run: Run, *, max_listed: int = 5) -> Iterator[Finding]:
    """A checkpoint is shorter than its own header says, lacks one of its files, or its checksums do not hold.

    ## What it checks
    What the readers of checkpoints could not read, by its reason: bytes, storages or files that the header promises and
    that are not there; a directory of an archive that is missing at its end; checksums that do not fit; tensors that
    lie on each other or reach beyond their storage; headers that are no headers. Formats, types and versions that are
    not understood are no damage, nor is a pointer of Git LFS in the place of a file.

    ## Why it matters
    The disk was full, the job was killed while it wrote, or the copy broke off: the checkpoint cannot be loaded, and
    often nobody knows before it is needed.

    ## Inputs
    Checkpoints of any format: headers and sizes alone, no values. Bytes that changed within the values show only where
    the format has checksums that were read.

    ## Options
    - `max_listed` (5 files): files that are listed in the evidence.

    ## Fix
    Shown: copy the file again, or go back to the checkpoint before; write to a temporary name and rename it when it is
    complete.

    ## When to ignore
    A file that is being written while it is checked.

    ## Source
    The formats: safetensors README ("the byte buffer needs to be entirely indexed"), PKWARE APPNOTE 4.3.6, the HDF5
    file format specification, III.A.
    """
    damaged = [u for u in run.unread if _is_checkpoint(run, u) and _reason(u)]
    if not damaged and not any(name in _READERS for name in run.files.values()):
        raise NotApplicable("no checkpoints were found")
    for unread in damaged[:max_listed]:
        at = Source(unread.path, unread.line)
        rest = "; what lies before it can be read" if unread.partial else ""
        yield Finding(
            f"{unread.path} is {_reason(unread)}: {unread.reason}{rest}",
            at=at,
            severity=Severity.ERROR,
            evidence=(
                Evidence(f"what is wrong with {unread.path}", unread.reason, None, at),
                Evidence("damaged checkpoints", len(damaged), 0, at),
            ),
            fix=Fix.show("copy the file again, or go back to the checkpoint before it"),
        )


def _is_checkpoint(run: Run, unread: Unread) -> bool:
    if not unread.known:
        return False
    reader = run.files.get(unread.path)
    return reader in _READERS if reader is not None else unread.path.lower().endswith(_ENDINGS)


def _reason(unread: Unread) -> str:
    """`cut`, `damaged`, or nothing for what is only not understood."""
    reason = unread.reason.lower()
    if any(word in reason for word in _NOT_THERE):
        return ""
    if "longer than" not in reason and any(word in reason for word in _CUT):
        return "cut"
    return "damaged" if any(word in reason for word in _DAMAGED) else ""
