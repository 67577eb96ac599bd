"""Configuration, projects and the states of tasks."""
