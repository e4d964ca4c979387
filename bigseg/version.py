"""Version of the package."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("bigseg")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0"
