"""What only a look at every id of a token file tells: the largest, how many lie beyond a limit, what two files share.

Files are read in pieces of bounded size, when a rule asks, at about the speed of the disk.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mldiag.errors import NotApplicable, ReadError
from mldiag.facts import fact
from mldiag.files import File
from mldiag.run import Run
from mldiag.tokens import TokenFile, TokenFiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIECE = 2**22
"""Bytes that are read at once."""
IN_NUMPY = 2**20
"""Bytes from which on numpy's import, a tenth of a second, is made good."""
SAMPLED = 8192
"""Windows of the validation file that are compared, about; more do not make a share more certain than 1 %."""
MOST_TOKENS = 2**26
"""Ids of a training file that are compared with the validation file: two seconds. Of a longer one every k-th piece."""

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}  # in lower case with a sign
_BASE = 0x9E3779B97F4A7C15 | 1  # odd, so that it has an inverse modulo 2**64
_MIX = 0xFF51AFD7ED558CCD  # of MurmurHash3's finalizer


class Shared(Struct, frozen=True):
    """What a validation file has in common with a training file.

    Attributes:
        windows: different windows of the validation file that were looked for; `found`: those the training file has.
        window: ids in a window.
        looked_at: ids of the training file that were compared.
    """

    windows: int
    found: int
    window: int
    looked_at: int

    @property
    def share(self) -> float:
        return self.found / self.windows if self.windows else 0.0


class TokenStatistics(Struct, frozen=True, dict=True):
    """The token files of a run with what every id in them says. Each method reads the file, once."""

    files: tuple[TokenFile, ...]
    root: Path

    def largest(self, file: TokenFile) -> int | None:
        """The largest id; None for a file without ids."""
        known = self.__dict__.setdefault("_largest", {})
        if file.source.path not in known:
            known[file.source.path] = max((_largest(piece) for piece in self._pieces(file)), default=None)
        found: int | None = known[file.source.path]
        return found

    def beyond(self, file: TokenFile, limit: int) -> tuple[int, int | None]:
        """How many ids are `limit` or larger, and the position of the first of them in the file."""
        count, first, at = 0, None, 0
        for piece in self._pieces(file):
            if isinstance(piece, array):
                places = [i for i, number in enumerate(piece) if number >= limit]
                here, begun = len(places), places[0] if places else 0
            else:
                above = piece >= limit
                here = int(above.sum())
                begun = int(above.argmax())
            if here and first is None:
                first = at + begun
            count += here
            at += len(piece)
        return count, first

    def shared(self, train: TokenFile, val: TokenFile, window: int) -> Shared:
        """Windows of the validation file that occur in the training file, wherever they begin in either.

        Of all windows those are taken whose hash is a multiple of some number (Manber 1994), the same in both files, so
        that a window is found whatever its place; each counts once, so that padding does not count as much.
        """
        import numpy as np

        every = max(1, val.count // SAMPLED)
        wanted = np.unique(np.concatenate([*self._hashes(val, window, every), np.empty(0, np.uint64)]))
        found = np.zeros(len(wanted), bool)
        looked_at = 0
        if len(wanted):
            leap = -(-train.count // MOST_TOKENS)
            for number, hashes in enumerate(self._hashes(train, window, every, leap)):
                found |= np.isin(wanted, hashes)
                looked_at = min(train.count, (number + 1) * (PIECE // train.width))
        return Shared(len(wanted), int(found.sum()), window, looked_at)

    def checksum(self, file: TokenFile, algorithm: str) -> str:
        """The checksum of the whole file in hexadecimal; `algorithm` as `hashlib` calls it, or `crc32`."""
        import hashlib
        import zlib

        crc, digest = 0, None if algorithm == "crc32" else hashlib.new(algorithm, usedforsecurity=False)
        try:
            with File(self.root, file.source.path).open() as stream:
                while piece := stream.read(PIECE):
                    if digest is None:
                        crc = zlib.crc32(piece, crc)
                    else:
                        digest.update(piece)
        except (OSError, ReadError) as error:
            raise NotApplicable(f"{file.source.path} cannot be read: {error}") from error
        return f"{crc:08x}" if digest is None else digest.hexdigest()

    def _pieces(self, file: TokenFile, leap: int = 1) -> Iterator[Any]:
        """The ids piece by piece, as arrays of numpy or, where that is not worth it, of Python; every `leap`-th."""
        left = file.count * file.width
        small = left <= IN_NUMPY
        try:
            with File(self.root, file.source.path).open() as stream:
                stream.seek(file.offset)
                while left > 0 and (data := stream.read(min(PIECE, left))):
                    left -= len(data)
                    data = data[: len(data) // file.width * file.width]
                    if data:
                        yield _plain(data, file) if small else _numpy(data, file)
                    if leap > 1:
                        stream.seek((leap - 1) * PIECE, 1)
                        left -= (leap - 1) * PIECE
        except (OSError, ReadError) as error:
            raise NotApplicable(f"{file.source.path} cannot be read: {error}") from error

    def _hashes(self, file: TokenFile, window: int, every: int, leap: int = 1) -> Iterator[NDArray[np.uint64]]:
        """The sampled hashes of all windows, piece by piece.

        A window's hash is a polynomial of its ids modulo 2**64 (Karp and Rabin 1987), of which prefix sums give all at
        once; the last ids of a piece stand before the next, so that no window is lost where pieces meet.
        """
        import numpy as np

        size = PIECE // file.width + window
        powers = np.empty(size + 1, np.uint64)
        powers[0], powers[1:] = 1, _BASE
        inverse = np.empty_like(powers)
        inverse[0], inverse[1:] = 1, pow(_BASE, -1, 2**64)
        np.multiply.accumulate(powers, out=powers)
        np.multiply.accumulate(inverse, out=inverse)
        before = np.empty(0, np.uint64)
        for piece in self._pieces(file, leap):
            ids = np.concatenate((before, np.asarray(piece).astype(np.uint64)))
            before = ids[len(ids) - window + 1 :] if leap == 1 else before
            if len(ids) < window:
                continue
            sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum((ids + np.uint64(1)) * powers[: len(ids)])))
            count = len(ids) - window + 1
            hashes = (sums[window:] - sums[:count]) * inverse[:count]
            hashes ^= hashes >> np.uint64(33)
            hashes *= np.uint64(_MIX)
            hashes ^= hashes >> np.uint64(33)
            yield np.unique(hashes[hashes % np.uint64(every) == 0])


@fact
def token_statistics(run: Run, files: TokenFiles) -> TokenStatistics:
    """The token files with a way to their ids."""
    return TokenStatistics(tuple(files), run.root)


def _signed(file: TokenFile) -> bool:
    return file.dtype.lstrip("<>").startswith("i")


def _plain(data: bytes, file: TokenFile) -> array[int]:
    code = _CODES[file.width]
    numbers = array(code.lower() if _signed(file) else code)
    numbers.frombytes(data)
    if (sys.byteorder == "big") != file.dtype.startswith(">"):
        numbers.byteswap()
    return numbers


def _numpy(data: bytes, file: TokenFile) -> NDArray[Any]:
    import numpy as np

    order, kind = ">" if file.dtype.startswith(">") else "<", "i" if _signed(file) else "u"
    return np.frombuffer(data, f"{order}{kind}{file.width}")


def _largest(piece: Any) -> int:
    return max(piece) if isinstance(piece, array) else int(piece.max())
