"""`python -m vespiary` is the command `vespiary`."""

from vespiary.cli.main import main

if __name__ == "__main__":
    main()
