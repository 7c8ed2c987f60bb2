"""The mathematics of engagement: who comes back, what they are worth, what an offer does. Pure functions of arrays."""
