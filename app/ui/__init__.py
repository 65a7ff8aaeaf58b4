"""What pages draw with."""
