"""`python -m asgiserve`: the command line without the installed script."""

from __future__ import annotations

from asgiserve.cli import main

if __name__ == "__main__":
    main()
