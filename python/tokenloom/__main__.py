"""Run the command line as ``python -m tokenloom``."""

from tokenloom.cli import main

if __name__ == "__main__":
    main()
