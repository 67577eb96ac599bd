"""How a command line ends: what interrupts a verb, or has a name, is an exit status and one message, never a traceback.

With ``TEROK_DEBUG`` in the environment failures keep their traceback.
"""

from __future__ import annotations

import os
import sys

# A constant of our own: type checkers know it by its name, and `typing` costs time to load.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130
"""Exit status after Ctrl-C."""


def carry_out(work: Callable[[], object]) -> None:
    """Run a verb; ``SystemExit`` for an interruption, a reader that went away, an end of input, or a named failure."""
    try:
        work()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # A traceback at the interpreter's end would only add noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except EOFError:
        raise SystemExit("nothing was done: the input ended before a question was answered") from None
    except (OSError, RuntimeError, ValueError) as error:
        if os.environ.get("TEROK_DEBUG"):
            raise
        raise SystemExit(str(error)) from error
