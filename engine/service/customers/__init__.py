"""What the store holds of customers, for those who ask: the people who help them, and themselves."""
