"""The errors bigseg raises on purpose. Each message names the offender and the remedy."""


class BigsegError(Exception):
    """Base of every error a user can act on; the CLI prints it without a traceback."""


class SpecError(BigsegError, ValueError):
    """A specification is wrong; nothing has been run."""


class ImageError(BigsegError, ValueError):
    """An image, its metadata or its voxels cannot be used as they are."""


class NotFound(BigsegError, FileNotFoundError):
    """A path, a level, a channel or a model does not exist."""


class OutputExists(BigsegError, FileExistsError):
    """Something would be overwritten that nobody allowed to be overwritten."""


class WeightsError(BigsegError, ValueError):
    """Weights do not fit the network they are meant for."""


class BlocksFailed(BigsegError, RuntimeError):
    """Some blocks of a stage failed; the others are recorded and will not be run again."""

    def __init__(self, stage: str, failed: dict[str, str], run: str, besides: str = "") -> None:
        first, reason = next(iter(failed.items()))
        besides = besides and f" {besides}"
        super().__init__(
            f"{len(failed)} block(s) of stage '{stage}' failed; first is {first}: {reason}{besides}"
            f" The others are kept; 'bigseg run {run}' tries only these again."
        )
        self.stage = stage
        self.failed = failed
