"""Token files, mapped into memory: unsigned 16-bit integers, little endian, one corpus after another."""

import mmap

import numpy as np

TOKEN_SIZE = 2


class MmapDataset:
    """Batches of a token file without reading it whole."""

    def __init__(self, path, seq_len):
        self.file = open(path, "rb")
        self.mmap = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        self.seq_len = seq_len

    def __len__(self):
        return len(self.mmap) // TOKEN_SIZE

    def get_batch(self, batch_idx, batch_size):
        """Inputs and targets of a batch, (batch_size, seq_len) each."""
        start = batch_idx * batch_size * 2  # 2 bytes per token
        size = (batch_size * self.seq_len + 1) * TOKEN_SIZE
        tokens = np.frombuffer(self.mmap[start : start + size], dtype="<u2").astype(np.int64)
        inputs, targets = tokens[:-1], tokens[1:]
        return inputs.reshape(batch_size, self.seq_len), targets.reshape(batch_size, self.seq_len)
