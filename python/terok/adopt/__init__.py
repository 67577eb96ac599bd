"""Adopts the stock front ends: ``python -m terok.adopt`` installs the TUI and the CLI of terok over this library.

The front ends' wheel is fetched by pip, or given; only its packages ``terok.tui`` and ``terok.cli`` and what they read
are taken, unmodified, into a folder of their own (``terok_front_ends`` beside the packages). The result is a wheel that
pip installs, with the front ends' own console scripts and requirements, so that ``pip uninstall terok`` takes them away
again. Nothing of the wheel's own library is taken.
"""
