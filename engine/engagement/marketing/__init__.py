"""Campaigns at work: what sets them off, for whom, how much, and what is taken back or withdrawn."""
