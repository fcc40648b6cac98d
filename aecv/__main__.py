"""`python -m aecv` is the command `aecv`."""

from aecv.commands.cli import main

if __name__ == "__main__":
    main(prog_name="aecv")
