"""The command line: each command reads its arguments and calls one function.

Commands import what they work with when they run, so that `--help` and mistakes answer at once.
"""

from bigseg.cli.app import main

__all__ = ["main"]
