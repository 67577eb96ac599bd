"""``python -m terok.adopt``: see the package."""

from terok.adopt.command import main

if __name__ == "__main__":
    main()
