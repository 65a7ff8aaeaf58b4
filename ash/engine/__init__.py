"""What `ash.sweeping` is made of: a plan, and one way to run it for each kind of tail and method."""
