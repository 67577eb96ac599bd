"""What serves the vault's credentials to containers."""
