"""Rows of cells: what the readers of tables, JSON lines and histories share."""
