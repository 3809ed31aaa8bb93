"""Checkpoints: headers of every format, nothing unpickled."""
