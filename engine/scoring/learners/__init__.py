"""Learners: what can stand behind the fraud score."""
