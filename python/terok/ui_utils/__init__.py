"""What front ends on a terminal share."""
