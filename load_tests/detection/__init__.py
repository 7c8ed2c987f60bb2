"""Streams with known truth that detection is measured on."""
