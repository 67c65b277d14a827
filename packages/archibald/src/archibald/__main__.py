"""``python -m archibald`` is the ``archibald`` command."""

from archibald.cli import main

if __name__ == "__main__":
    main()
