"""Git gate: the tokens a container presents to it."""
