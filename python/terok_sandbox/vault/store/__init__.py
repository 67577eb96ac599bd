"""The encrypted credential database and the ways to its passphrase."""
