"""Numerics shared by rules: robust level, noise and trend of short and long series."""

from __future__ import annotations
