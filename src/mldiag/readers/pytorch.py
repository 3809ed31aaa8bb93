"""Checkpoints of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""How a pickle writes the number 0x1950a86a20f9469cfc6c, with which every file of `torch.save` before 1.6 begins."""


def _is_pytorch(file: File) -> bool:
    name = file.name.lower()
    # Nothing else has these endings: a file that is neither is told as broken, not as unknown.
    if name.endswith((".pt", ".pth")):
        return True
    if file.head.startswith(_ZIP):
        return b"/data.pkl" in file.head or name.endswith((".bin", ".ckpt"))
    return _LEGACY in file.head[:16]


@reader(
    "*.pt", "*.pth", "*.bin", "*.ckpt", "*.pt.tar", "*.pth.tar", "*.pkl", "*.th",
    matches=_is_pytorch, priority=50, post=True,
)  # fmt: skip
def pytorch(file: File) -> Iterator[Artifact]:
    """Files of `torch.save` and TorchScript: names, shapes and types of the tensors, and the scalars beside them.

    Nothing is unpickled: the opcodes are followed by a machine that knows lists, dictionaries, numbers and the calls
    that rebuild tensors; whatever else the file would import or call is listed, not done. Understood are zip files
    (PyTorch 1.6 and later, TorchScript), the older ones of several pickles, whole pickled modules (their tensors have
    the names of their state dict), tensors that are views of one storage, arrays and numbers of NumPy. Keys of nested
    dictionaries join with `/` (`model/encoder.weight`). Counters, optimizer groups and whatever else is a scalar are
    metadata; what lies under a name such as `hyper_parameters`, `args` or `config` is a setting that the checkpoint
    states. An object without tensors, as Hugging Face's `training_args.bin`, is the record of its attributes. A shard
    that an index beside it lists (`pytorch_model.bin.index.json`) is told with that index, not twice. A file whose
    end is missing is named; of the older format its names are still read.
    """
    from mldiag.readers._weights.shards import index_of

    if index_of(file):
        return
    from mldiag.readers._weights.pytorch import artifacts

    yield from artifacts(file)
