"""Editors: one module per syntax. An editor turns a new value into text for the span a reader has marked.

Each module has `replaced(source, value) -> Edit`, which keeps quoting, comments and alignment.
"""

from __future__ import annotations

import importlib

from mldiag.artifacts import Launch, Scalar, SettingValue
from mldiag.findings import Edit


def edit_setting(setting: SettingValue | None, value: Scalar) -> Edit | None:
    """The edit that gives a setting another value at the place where it was read.

    Returns:
        None where that place cannot be edited: no editor for its syntax, no span, a record of the run, or a shell
        variable that something else uses too. A fix with such an edit is only shown.
    """
    if setting is None or setting.syntax is None or setting.record or setting.shared_by:
        return None
    if setting.source.start is None or setting.source.end is None or setting.source.text is None:
        return None
    editor = importlib.import_module(f"mldiag.editors.{setting.syntax}")
    edit: Edit = editor.replaced(setting.source, value)
    return edit


def add_flag(launch: Launch | None, flag: str, value: Scalar) -> Edit | None:
    """The edit that appends a flag to a launch command, in the style of its script.

    Args:
        flag: with its dashes.
        value: None for a bare switch.

    Returns:
        None where there is no launch, or the script does not say where its command ends.
    """
    if launch is None or launch.end is None:
        return None
    from mldiag.editors import shell

    return shell.inserted(launch, flag, value)
