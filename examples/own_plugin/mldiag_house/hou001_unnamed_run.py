from collections.abc import Iterator

from mldiag.api import Evidence, Finding, Fix, NotApplicable, Program, Settings, rule


@rule("HOU001", severity="warning", pre=True)
def unnamed_run(program: Program, settings: Settings, *, min_length: int = 8) -> Iterator[Finding]:
    """The launch script gives the run no name, or one too short to find again.

    ## What it checks
    The flag `--run_name` of the launch command: present, and at least `min_length` characters long.

    ## Why it matters
    Runs named "test" cannot be told apart a month later.

    ## Inputs
    The launch script; the setting `run_name`.

    ## Options
    `min_length` (default 8 characters).

    ## Fix
    Shown only: a name is for a person to choose.

    ## When to ignore
    Scratch runs.

    ## Source
    An agreement of the team.
    """
    if program.launch is None:
        raise NotApplicable("no launch script was found")
    found = settings.effective("run_name")
    length = len(str(found.value)) if found else 0
    if length < min_length:
        at = found.source if found else program.launch.source
        yield Finding(
            f"the run's name has {length} characters, fewer than {min_length}",
            at=at,
            evidence=(Evidence("length of the name", length, min_length, at, "character"),),
            fix=Fix.show("pass --run_name with a name that says what the run is for"),
        )
