"""Exit statuses of the command line with a meaning beyond success and failure."""

EXIT_MANUAL_STEP_NEEDED = 5
"""Everything that could be done is done; a step that needs the administrator is left."""
