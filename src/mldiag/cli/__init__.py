"""The command line: one module per command, each with a click command named `command`.

Commands are found by looking into this package. A command returns its exit code: 0 nothing at or above the gate, 1
findings at or above it, 2 the work could not be done. stdout carries the result and nothing else.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldiag import __version__
from mldiag.errors import BROKEN, MldiagError

if TYPE_CHECKING:
    from mldiag.plugins import Plugins

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""
BROKEN_PIPE = 141
"""128 + SIGPIPE: whoever read the output has left."""


class Commands(click.Group):
    """Imports a command's module when the command is asked for, and turns errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        import pkgutil

        return sorted(info.name for info in pkgutil.iter_modules(__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if not cmd_name.isidentifier() or PathFinder.find_spec(f"{__name__}.{cmd_name}", __path__) is None:
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            _require_working_folder()
            return super().invoke(ctx)
        except MldiagError as error:
            complain(str(error))
            return BROKEN
        except BrokenPipeError:
            return BROKEN_PIPE

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        # What an audit builds lives until it ends; looking for garbage among it took a tenth of a small one.
        gc.set_threshold(100_000)
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        try:
            code = super().main(args, standalone_mode=False, **extra)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except click.Abort:
            code = INTERRUPTED
        except Exception:
            # Python would end with 1, which means "findings"; an audit that broke down has found nothing.
            import traceback

            traceback.print_exc()
            complain("this is a defect of mldiag; please report it with the lines above")
            code = BROKEN
        if args is None:
            _end_at_once(code or 0)
        sys.exit(code or 0)


def _end_at_once(code: int) -> None:
    """Ends the process without taking down what it has built up, which takes a tenth of a small audit.

    Everything that Python does at its end and that anyone could notice is done first. Where somebody watches (a
    profiler, a debugger, `python -i`) or something still runs, it returns, and the process ends in the ordinary way.
    """
    import atexit
    import threading

    gc.freeze()  # in the ordinary way, too, Python need not look for garbage once more
    monitoring = getattr(sys, "monitoring", None)
    watched = sys.gettrace() or sys.getprofile() or sys.flags.inspect or os.environ.get("PYTHONINSPECT")
    if watched or threading.active_count() > 1 or (monitoring and any(map(monitoring.get_tool, range(6)))):
        return
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # closed, or the reader has left: Python says what there is to say
        return
    os._exit(code)


def _require_working_folder() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise MldiagError("the working folder is gone or may not be entered; change to another one") from error


def complain(message: str) -> None:
    """One line on stderr, with nothing in it that acts on a terminal."""
    from mldiag.terminal import note

    note(f"mldiag: {message}")


def rule_folders(paths: Sequence[Path], given: Sequence[Path]) -> list[Path]:
    """The folders of rules to load: those given on the command line and those configured for the paths.

    Raises:
        SettingsError: a configuration that lies among the checked files names rules: nothing there is ever executed.
    """
    from mldiag import settings
    from mldiag.errors import SettingsError

    # Of a file that is named its folder is among what is checked, unless one works in that folder.
    real = [Path(os.path.realpath(path)) for path in paths]
    checked = [p if p.is_dir() or p.parent == Path.cwd() else p.parent for p in real]
    folders = dict.fromkeys(given)
    for path in paths:
        config = settings.find(path)
        for folder in config.rule_folders:
            for place in (config.origin or folder, folder):
                inside = next((c for c in checked if place.resolve().is_relative_to(c)), None)
                if inside and folder not in given:
                    raise SettingsError(
                        f"{config.origin}: rule-folders names {folder}, but nothing that lies below a checked path "
                        f"({inside}) is executed; pass --rules {folder} if you trust it"
                    )
            folders[folder] = None
    return list(folders)


def known_plugins(given: Sequence[Path]) -> Plugins:
    """The plugins and rules as they hold for the current folder: for commands that look at rules, not at runs."""
    from mldiag import settings
    from mldiag.plugins import load

    return load(dict.fromkeys((*given, *settings.find(Path.cwd()).rule_folders)))


class NamedPath(click.Path):
    """A path that the command itself looks at, so that one that cannot be used costs only itself; never empty."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        # `mldiag fix --apply "$RUN"` with RUN unset must not mean the working folder.
        if value == "":
            self.fail("the path is empty; the working folder is called .", param, ctx)
        return super().convert(value, param, ctx)


def words(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """For an option that may be repeated or given several words separated by commas."""
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())


def rule_words(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """What a shell may complete a rule to: codes, names and families, behind the commas that are there."""
    before, comma, word = incomplete.rpartition(",")
    known = known_plugins([]).rules.values()
    found = sorted({w for rule in known for w in (rule.code, rule.name, rule.family)})
    return [before + comma + w for w in found if w.lower().startswith(word.lower())]


select_option = click.option(
    "--select",
    multiple=True,
    metavar="RULE",
    callback=words,
    shell_complete=rule_words,
    help="Apply these rules only: codes, beginnings of codes, names or families, separated by commas; may be repeated.",
)

ignore_option = click.option(
    "--ignore",
    multiple=True,
    metavar="RULE",
    callback=words,
    shell_complete=rule_words,
    help="Leave these rules out, named in the same way.",
)

stage_option = click.option(
    "--stage",
    type=click.Choice(["pre", "post"]),
    default="post",
    help="pre: look only at what is known before training.",
)

paths_argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=NamedPath())
"""The paths that a command works on."""

rules_option = click.option(
    "--rules",
    "rules",
    multiple=True,
    metavar="DIR",
    type=NamedPath(),
    help="Load the rules in the Python files of DIR as well; may be repeated.",
)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mldiag", message="%(prog)s %(version)s")
def main() -> None:
    """Finds what is wrong with a training run from what it left behind, and writes the correction.

    Exit codes: 0 nothing at or above the gate, 1 findings at or above it, 2 something could not be checked.
    """
