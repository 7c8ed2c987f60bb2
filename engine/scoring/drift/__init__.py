"""Whether the payments, their scores or their labels are no longer what they were: drift, told from calm days."""
