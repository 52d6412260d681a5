"""`python -m latentzoo` is the command line."""

from latentzoo.cli import main

if __name__ == "__main__":
    main()
