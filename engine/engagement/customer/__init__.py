"""What is known of a customer beside the ledger: payments, habits, states, consent, feedback."""
