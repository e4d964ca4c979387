"""`python -m bigseg` is `bigseg`: for machines where only a Python is known by its path."""

from bigseg.cli import main

if __name__ == "__main__":
    main()
