"""What campaigns have given and done in a running engine."""
