"""`python -m vespiary` is the command `vespiary`."""

from vespiary.cli._entry import main

if __name__ == "__main__":
    main()
