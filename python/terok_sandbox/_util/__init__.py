"""Parts of the sandbox that stand on their own; nothing is loaded until a module is imported by name."""
