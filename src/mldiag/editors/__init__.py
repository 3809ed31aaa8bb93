"""Editors: one module per syntax. An editor turns a new value into text for the span a reader has marked.

Each module has `replaced(source, value) -> Edit | None`, which keeps quoting, comments and alignment and is None where
the syntax cannot say the value; those of files that hold settings also have `written(value, old)` and `key(name)`, the
two parts of a setting that is inserted.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from mldiag.artifacts import Call, Launch, Role, Scalar, Settings, SettingValue
from mldiag.findings import Edit

_FOLLOWERS = {
    "seq_len": ("stride", "max_positions"),
    "total_steps": ("lr_decay_steps",),
}
"""Settings that mean the same number where they have the same value: windows that neither overlap nor leave gaps, rows
for every position of a window, a learning rate that decays until the run ends."""


def edit_setting(setting: SettingValue | None, value: Scalar) -> Edit | None:
    """The edit that gives a setting another value at the place where it was read.

    Returns:
        None where that place cannot be edited: no editor for its syntax, no span, a record of the run, a shell variable
        that something else uses too, or a value that the syntax cannot say. A fix with such an edit is only shown.
    """
    if setting is None or setting.syntax is None or setting.record or setting.shared_by:
        return None
    if setting.source.start is None or setting.source.end is None or setting.source.text is None:
        return None
    edit: Edit | None = _editor(setting.syntax).replaced(setting.source, value)
    return edit


def edit_everywhere(settings: Settings | None, setting: SettingValue | None, value: Scalar) -> tuple[Edit | None, ...]:
    """The edits that give a setting another value, and with it whatever else says the old one.

    These are other places that state the setting with the same value and rank (two configuration files), and settings
    that equal it because they follow from it: the stride of windows that lie side by side, the rows of the position
    table, the end of the decay. What overrides or is overridden stays as it is.

    Returns:
        With None for a place that would have to change and cannot; a fix with it is only shown.
    """
    if setting is None or settings is None:
        return (edit_setting(setting, value),)
    found = [setting]
    for name in (setting.name, *_FOLLOWERS.get(setting.name, ())):
        for other in settings.all(name, Role.FLAG, Role.FILE):
            same = other.value == setting.value and isinstance(other.value, bool) is isinstance(setting.value, bool)
            moves = other.rank == setting.rank if name == setting.name else other is settings.effective(name)
            if same and moves and not other.record and other.source != setting.source:
                found.append(other)
    return tuple(dict.fromkeys(edit_setting(s, value) for s in found))


def add_setting(beside: SettingValue | None, key: str, value: Scalar) -> Edit | None:
    """The edit that inserts a setting behind another one, into the same file and section and in its style.

    Args:
        key: as the file is to spell it. The section must not have it yet.

    Returns:
        None where there is no such place: a record of the run, a flag or default (see `add_flag` and `add_keyword`), a
        value over several lines, or a key or value that would have to be quoted otherwise than the file does.
    """
    if beside is None or beside.syntax is None or beside.record or beside.site is None:
        return None
    editor = _editor(beside.syntax)
    name, text = editor.key(key), editor.written(value, "")
    if name is None or text is None:
        return None
    return Edit(beside.source.path, beside.site.offset, beside.site.offset, "", beside.site.text(name, text))


def add_keyword(call: Call | None, name: str, value: Scalar) -> Edit | None:
    """The edit that adds a keyword argument to a call, behind its last argument and in its layout.

    Returns:
        None where the call has the keyword, or may have it in a `**` argument, or does not show where its last argument
        ends.
    """
    if call is None or call.site is None or name in call.where or not name.isidentifier():
        return None
    text = _editor("python").written(value, "")
    return Edit(call.source.path, call.site.offset, call.site.offset, "", call.site.text(name, text))


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


def add_variable(launch: Launch | None, name: str, value: Scalar) -> Edit | None:
    """The edit that sets an environment variable for a launch command, in front of it.

    Returns:
        None where there is no launch, its beginning is not known, or the script sets the variable already.
    """
    if launch is None or launch.source.start is None or name in launch.environment or not name.isidentifier():
        return None
    from mldiag.editors import shell

    return shell.assigned(launch, name, value)


def _editor(syntax: str) -> ModuleType:
    return importlib.import_module(f"mldiag.editors.{syntax}")
