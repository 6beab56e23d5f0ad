"""`python -m gta` is the `gta` command."""

from gta.cli import main

if __name__ == "__main__":
    main()
