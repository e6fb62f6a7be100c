"""``python -m tlseg_lite`` is the command ``tlseg-lite``."""

from tlseg_lite.cli.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
