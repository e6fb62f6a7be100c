"""What every other folder stands on (no chapter of its own).

Errors, checks, seeds, the base class of what can be trained, atomic and described files, downloads,
progress bars, provenance, the recorded results.
It may import nothing else of the package.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "checks": "check_image",
        "downloads": "cache_dir fetch_checkpoint fetch_samples",
        "errors": "CheckpointError ChecksumError DataError DownloadError MissingDataError "
        "OfflineError",
        "files": "read_description read_tensors write_atomically write_tensors",
        "memory": "NotEnoughMemory is_out_of_memory",
        "progress": "bar say",
        "provenance": "provenance",
        "seeding": "derived_seed seeded",
        "trainable": "Trainable load_model",
    },
)
