"""`python -m mldiag`."""

from mldiag.cli import main

if __name__ == "__main__":
    main(prog_name="mldiag")
