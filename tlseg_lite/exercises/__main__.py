"""``python -m tlseg_lite.exercises OUT``: the same as ``tlseg-lite course OUT``."""

import sys

from tlseg_lite.cli.commands import main

sys.exit(main(["course", *sys.argv[1:]]))
