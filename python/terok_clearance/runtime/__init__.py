"""The services of the live verdicts on a host."""
