"""What is shown to a person, and where."""
