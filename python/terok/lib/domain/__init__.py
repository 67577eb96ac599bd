"""What front ends do, apart from how they show it."""
