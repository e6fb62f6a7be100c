"""What the package raises where data or a weights file cannot be used or fetched."""


class DataError(ValueError):
    """Data that cannot be used. The message names the file, what was expected and the remedy."""


class MissingDataError(DataError, FileNotFoundError):
    """A folder or a file that should be there is not. Also a `FileNotFoundError`."""


class CheckpointError(ValueError):
    """A weights file that cannot be used: truncated, of another model, unsafe or no checkpoint."""


class DownloadError(RuntimeError):
    """A file could not be fetched. ``.reason`` is the cause in a few words."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class OfflineError(DownloadError):
    """A file is not here and TLSEG_OFFLINE forbids fetching it."""


class ChecksumError(DownloadError):
    """A file is not the published one, by its sha256."""


def listing(names, limit: int = 5) -> str:
    """The first few of `names` and how many more there are, for an error message."""
    names = [str(name) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
