"""What is raised when image data is missing, does not fit together, or cannot be read."""


class DataError(ValueError):
    """Data that cannot be used. The message names the file, what was expected and the remedy."""


class MissingDataError(DataError, FileNotFoundError):
    """A folder or a file that should be there is not. Also a `FileNotFoundError`."""


def listing(names, limit: int = 5) -> str:
    """The first few of `names` and how many more there are, for an error message."""
    names = [str(name) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
