"""What every other folder stands on (no chapter of its own).

Errors, atomic and described files, downloads, progress bars, provenance, the recorded results.
It may import nothing else of the package.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "downloads": "cache_dir fetch_checkpoint fetch_samples",
        "errors": "DataError MissingDataError CheckpointError",
        "files": "write_atomically write_tensors read_tensors",
        "progress": "bar say",
        "provenance": "provenance",
        "transfer": "DownloadError OfflineError ChecksumError",
    },
)
