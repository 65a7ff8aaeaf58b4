"""A folder of penultimate activations and a last layer, whatever made them, as a network without images."""
