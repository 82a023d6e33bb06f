"""``dlc``, or ``python -m dlc``: the command line."""

import sys


def main() -> None:
    """Runs the command that the process was given, see :func:`dlc.cli.main`."""
    try:
        from dlc.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
