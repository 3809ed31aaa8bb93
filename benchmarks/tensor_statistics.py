"""How fast the values of a checkpoint are looked at, against merely reading the file and against torch.

    python benchmarks/tensor_statistics.py [--peers PYTHON] [--rounds 5] [--gigabytes 1] [--large 4]

Writes its own checkpoints into a temporary folder: 50 tensors of float32 and 50 of bfloat16 as safetensors, the same as
`.pt`, one of each type alone, and one of `--large` gigabytes. PYTHON is an interpreter with torch and safetensors
(`--torch` is another name for it); without it only mldiag is run. The page cache is warm, the ways take turns. `op` is
the work without start-up and imports, `wall` and `cpu` are of the whole process, `peak` is its largest resident size.
Every way counts NaN, infinity and zeros and finds the least and the largest value, the mean, the standard deviation and
the norm of each tensor; torch in blocks on one thread, and in whole tensors on as many as it likes.
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from _processes import Cost, Way, compare, paired, versions

READING = 2.0
"""The work over merely reading the file, the issue's limit; whole processes over torch's, the peak, and `.pt` over
safetensors follow."""
TORCH = 3.5
PEAK = 48 * 2**20
PT = 1.3

TENSORS = 50
ROW = 4096

READ = Way(
    "import sys",
    "buffer, check = memoryview(bytearray(2**20)), 0\n"
    "with open(sys.argv[1], 'rb', buffering=0) as stream:\n"
    "    while count := stream.readinto(buffer):\n"
    "        check += count\n"
    "check = None",
)
_SHOWN = (
    "check = [len(found), sum(f[0] for f in found), round(min(f[1] for f in found), 6), "
    "round(max(f[2] for f in found), 6), round(sum(f[3] for f in found), 4)]"
)
MLDIAG = Way(
    "import sys\nfrom pathlib import Path\nimport numpy\nfrom mldiag.checkpoints import Checkpoint\n"
    "from mldiag.facts.tensor_statistics import TensorStatistics\nfrom mldiag.files import File\n"
    "from mldiag.readers import pytorch, safetensors\nfrom mldiag.stats import tensors",
    "path = Path(sys.argv[1])\n"
    "read = safetensors.safetensors if path.suffix == '.safetensors' else pytorch.pytorch\n"
    "(held,) = [a for a in read(File(path.parent, path.name)) if isinstance(a, Checkpoint)]\n"
    "each = [s for _, s in TensorStatistics((held,), path.parent).each(held)]\n"
    "found = [(s.nan + s.inf + s.zeros, s.min, s.max, s.std) for s in each]\n" + _SHOWN,
)
_ONE = """
def one(x):
    n, total, squares, zeros, low, high, bad = x.numel(), 0.0, 0.0, 0, [], [], 0
    for part in x.reshape(-1).split(2**18):
        part = part.float()
        a, b = torch.aminmax(part)
        low.append(a), high.append(b)
        total += part.sum().double()
        squares += torch.dot(part, part).double()
        zeros += n and part.numel() - torch.count_nonzero(part)
    low, high = torch.stack(low).min().item(), torch.stack(high).max().item()
    mean = float(total) / n
    return int(zeros), low, high, max(0.0, float(squares) / n - mean * mean) ** 0.5
"""
TORCH_BLOCKS = (
    "import sys, torch\ntorch.set_num_threads(1)\n" + _ONE,
    "if sys.argv[1].endswith('.safetensors'):\n"
    "    from safetensors import safe_open\n"
    "    with safe_open(sys.argv[1], 'pt') as held:\n"
    "        found = [one(held.get_tensor(k)) for k in held.keys()]\n"
    "else:\n"
    "    held = torch.load(sys.argv[1], weights_only=True, mmap=True)\n"
    "    found = [one(x) for x in held.values()]\n" + _SHOWN,
)
TORCH_WHOLE = (
    TORCH_BLOCKS[0] + "\ndef one(x):\n"
    "    low, high = torch.aminmax(x)\n"
    "    zeros = x.numel() - int(torch.count_nonzero(x))\n"
    "    mean = float(x.sum(dtype=torch.float32)) / x.numel()\n"
    "    norm = float(torch.linalg.vector_norm(x, dtype=torch.float32))\n"
    "    return zeros, float(low), float(high), max(0.0, norm * norm / x.numel() - mean * mean) ** 0.5\n",
    TORCH_BLOCKS[1],
)


def tensors(size: int, kinds: tuple[str, ...]) -> Iterator[tuple[str, str, int]]:
    """Name, type and rows of tensors that have about so many bytes together."""
    for kind in kinds:
        each = size // len(kinds) // TENSORS
        width = 4 if kind == "F32" else 2
        for i in range(TENSORS):
            yield f"{kind}.{i}", kind, max(1, each // (ROW * width))


def values(kind: str, rows: int, seed: int) -> Iterator[bytes]:
    """Normally distributed ones, as weights are, some of them zero."""
    import numpy as np

    draw = np.random.default_rng(seed)
    block = draw.standard_normal((min(rows, 256), ROW), dtype=np.float32) * np.float32(0.02)
    block[draw.random(block.shape) < 1e-4] = 0
    for start in range(0, rows, 256):
        part = block[: rows - start]
        yield part.tobytes() if kind == "F32" else (part.view(np.uint32) >> 16).astype(np.uint16).tobytes()


def write_safetensors(path: Path, size: int, kinds: tuple[str, ...]) -> None:
    """Header and values; of these no more than a block is made at a time."""
    header, at = {}, 0
    for name, kind, rows in tensors(size, kinds):
        end = at + rows * ROW * (4 if kind == "F32" else 2)
        header[name] = {"dtype": kind, "shape": [rows, ROW], "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for i, (_, kind, rows) in enumerate(tensors(size, kinds)):
            stream.writelines(values(kind, rows, i))


def write_pt(path: Path, size: int, kinds: tuple[str, ...]) -> None:
    """As `torch.save` writes it: a pickle of calls, and a stored member for each storage."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    pickle = io.BytesIO()
    pickle.write(b"\x80\x02}(")
    for i, (name, kind, rows) in enumerate(tensors(size, kinds)):
        storage = "FloatStorage" if kind == "F32" else "BFloat16Storage"
        pickle.write(text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((")
        pickle.write(text("storage") + f"ctorch\n{storage}\n".encode() + text(str(i)) + text("cpu"))
        pickle.write(number(rows * ROW) + b"tQK\0" + number(rows) + number(ROW) + b"\x86" + number(ROW) + b"K\x01\x86")
        pickle.write(b"\x89ccollections\nOrderedDict\n)RtR")
    pickle.write(b"u.")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr("archive/data.pkl", pickle.getvalue())
        archive.writestr("archive/byteorder", "little")
        for i, (_, kind, rows) in enumerate(tensors(size, kinds)):
            with archive.open(f"archive/data/{i}", "w", force_zip64=True) as stream:
                for part in values(kind, rows, i):
                    stream.write(part)
        archive.writestr("archive/version", "3\n")


def write(path: Path, size: int, kinds: tuple[str, ...]) -> None:
    """Writes a file in a process of its own: the peak of a process counts what its parent had in memory."""
    arguments = [sys.executable, __file__, "--write", str(path), "--bytes", str(size), "--kinds", *kinds]
    subprocess.run(arguments, check=True)


def told(name: str, found: float, target: float, *, least: bool = False) -> bool:
    """Prints a figure beside its target; whether it is met."""
    met = found >= target if least else found <= target
    print(f"{name}: {found:.2f} (target: at {'least' if least else 'most'} {target:g}){'' if met else '  MISSED'}")
    return met


def main() -> None:
    """Writes the checkpoints, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", "--torch", help="interpreter with torch and safetensors")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--large", type=float, default=4.0)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--bytes", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--kinds", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        (write_pt if args.write.suffix == ".pt" else write_safetensors)(args.write, args.bytes, tuple(args.kinds))
        return
    print(versions(sys.executable, "mldiag-toolkit", "numpy"))
    if args.peers:
        print(versions(args.peers, "torch", "safetensors", "numpy"))
    size, both = int(args.gigabytes * 2**30), ("F32", "BF16")
    peaks: list[Cost] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            "mixed.safetensors": both,
            "mixed.pt": both,
            "float32.safetensors": ("F32",),
            "bfloat16.safetensors": ("BF16",),
        }
        costs: dict[str, dict[str, list[Cost]]] = {}
        for file, kinds in files.items():
            path = folder / file
            write(path, size, kinds)
            ways = {"reading": READ, "mldiag": MLDIAG}
            if args.peers and kinds == both:
                ways["torch, blocks"] = Way(*TORCH_BLOCKS, python=args.peers)
                ways["torch, whole tensors"] = Way(*TORCH_WHOLE, python=args.peers)
            print(f"\n{file}: {path.stat().st_size / 1e9:.2f} GB, {args.rounds} rounds\n")
            costs[file] = compare(ways, path, args.rounds, "reading")
            peaks += costs[file]["mldiag"]
            if kinds != both:
                path.unlink()
        st, pt = folder / "mixed.safetensors", folder / "mixed.pt"
        print("\nthe same tensors as safetensors and as .pt\n")
        pairs = {"safetensors": Way(MLDIAG.imports + f"\nsys.argv[1] = {str(st)!r}", MLDIAG.body),
                 "pt": Way(MLDIAG.imports + f"\nsys.argv[1] = {str(pt)!r}", MLDIAG.body)}  # fmt: skip
        formats = compare(pairs, st, args.rounds, "safetensors")
        st.unlink()
        pt.unlink()
        large = folder / "large.safetensors"
        write(large, int(args.large * 2**30), both)
        print(f"\nlarge.safetensors: {large.stat().st_size / 1e9:.2f} GB\n")
        most = compare({"reading": READ, "mldiag": MLDIAG}, large, 2, "reading")["mldiag"]
    print()
    for file, ways in costs.items():
        told(f"{file}, work / reading", paired(ways["mldiag"], ways["reading"], "op"), READING)
        for peer in [w for w in ways if w.startswith("torch")]:
            told(
                f"{file}, {peer} / mldiag, whole process", paired(ways[peer], ways["mldiag"], "wall"), TORCH, least=True
            )
    told(".pt / safetensors, whole process", paired(formats["pt"], formats["safetensors"], "wall"), PT)
    told("peak in MiB", max(c.peak for c in peaks) / 2**20, PEAK / 2**20)
    told("peak of the large file in MiB", max(c.peak for c in most) / 2**20, PEAK / 2**20)


if __name__ == "__main__":
    main()
