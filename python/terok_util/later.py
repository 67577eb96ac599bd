"""What calls to parts that are not in this version answer: one line that says so.

Such a part has its names, kinds and signatures already, so that whoever imports them keeps working.
"""


class NotInThisVersion(RuntimeError):
    """A part was asked to act that this version does not have."""


def refuse(part: str) -> NotInThisVersion:
    """Return the exception to raise for *part*, which is the subject of the sentence."""
    return NotInThisVersion(f"{part} is not available in this version yet")


def refuse_command(part: str) -> SystemExit:
    """The same for a command line."""
    return SystemExit(str(refuse(part)))
