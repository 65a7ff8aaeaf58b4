"""What `ash.models` is made of: entries, checkpoints, torchvision's registry, own networks, traced graphs."""
