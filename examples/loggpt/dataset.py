"""Sessions of OpenStack logs: the lines of one instance, joined to one text."""

import csv
from collections import defaultdict


def sessions(path):
    """Session id → text and label."""
    lines, labels = defaultdict(list), {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            lines[row["instance"]].append(row["content"])
            labels[row["instance"]] = int(row["anomalous"])
    return {key: (" \n ".join(content), labels[key]) for key, content in lines.items()}


def windows(ids, block_size):
    """A session's tokens in blocks, the last one padded."""
    for start in range(0, len(ids), block_size):
        yield ids[start : start + block_size]
