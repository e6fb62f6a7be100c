"""What every other folder stands on (no chapter of its own).

Errors, atomic and described files, downloads, progress bars, provenance, the recorded results.
It may import nothing else of the package.
"""

from tlseg_lite.core.lazy import lazy

# public name -> module that defines it; imported when first used
_NAMES = {
    "cache_dir": "downloads",
    "fetch_checkpoint": "downloads",
    "fetch_samples": "downloads",
    "CheckpointError": "errors",
    "DataError": "errors",
    "MissingDataError": "errors",
    "read_tensors": "files",
    "write_atomically": "files",
    "write_tensors": "files",
    "bar": "progress",
    "say": "progress",
    "provenance": "provenance",
    "ChecksumError": "transfer",
    "DownloadError": "transfer",
    "OfflineError": "transfer",
}
_MODULES = (
    "downloads",
    "errors",
    "files",
    "lazy",
    "records",
    "transfer",
)

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
