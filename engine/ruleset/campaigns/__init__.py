"""Campaigns: what engagement does for whom and when, as files, read and checked like rules."""
