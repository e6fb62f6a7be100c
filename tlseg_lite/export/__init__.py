"""A trained model outside of PyTorch (chapter 3): ONNX files for a browser, a phone, a server.

May import `core`, `data`, `sam`, `adapters` and `baselines`; knows nothing of training.
"""

from tlseg_lite.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "onnx_files": "Exported onnx",
        "runtime": "web_runtime",
        "shared": "SHARED share_weights",
    },
)
