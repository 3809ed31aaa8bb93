"""`python -m mldiag`."""

import gc

# As `mldiag.cli` does it (see there), but before all that is imported.
gc.set_threshold(100_000)

from mldiag.cli import main  # noqa: E402

if __name__ == "__main__":
    main(prog_name="mldiag")
