"""What campaigns would have done on a history, before they are launched."""
