"""mldiag: finds what is wrong with a training run from what the run left behind, and writes the correction."""

__version__ = "0.1.0"
