"""SSH keys: what is stored in the vault, and the agent that signs with it."""
