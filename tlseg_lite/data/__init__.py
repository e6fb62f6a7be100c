"""Images with landslide masks (every chapter): real datasets, samples, transforms, splits.

Every dataset is a `base.LandslideDataset`: ``len``, items ``{"image": float32 3xHxW in [0, 1],
"mask": float32 1xHxW of 0/1, "id": str}`` at native size, ``ids``, ``source`` (what it is, in
words), ``files(i)`` and ``check()``. `pixels` and `hdf5` open files, `images` says what of them is
an image and what a mask, `check` looks through a whole dataset.
May import `core`. The synthetic scenes are a dataset too and are handed on here; they live in
`tlseg_lite.scenes`.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "base": "LandslideDataset",
        "bijie": "Bijie",
        "cache": "Cached",
        "check": "Report inspect",
        "chips": "Chips",
        "folder": "Folder",
        "images": "ImagePairs read_image read_mask read_target",
        "landslide4sense": "BANDS Landslide4Sense",
        "scaling": "Scaling",
        "sen12landslides": "Sen12Landslides",
        "sample_sets": "samples",
        "splits": "Subset k_fold split split_by_blocks",
        "tlseg_lite.core.errors": "DataError MissingDataError",
        "tlseg_lite.scenes.fallback": "course_samples",
        "tlseg_lite.scenes.synthetic": "SyntheticLandslides",
        "transforms": "Augment Prepared fit_square unfit",
    },
)
