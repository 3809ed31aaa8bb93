"""Configurations and scripts: what their readers share."""
