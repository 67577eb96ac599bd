"""What brings projects, agents and containers together: environment, runners, life cycle, hooks."""
