"""``python -m terok_executor.acp.daemon CONTAINER SOCKET``: the daemon that would serve a container's agents.

It is not part of this version; whoever starts it reads so in one line on standard error, which callers keep as its log.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from terok_util.later import refuse_command


def main(argv: Sequence[str] | None = None) -> int:
    """Refuse: see the module. Returns 2 for anything but two arguments.

    Raises:
        SystemExit: always for two arguments.
    """
    given = sys.argv[1:] if argv is None else argv
    if len(given) != 2:
        print("usage: python -m terok_executor.acp.daemon CONTAINER SOCKET", file=sys.stderr)
        return 2
    raise refuse_command("the daemon that serves agents over ACP")


if __name__ == "__main__":
    sys.exit(main())
