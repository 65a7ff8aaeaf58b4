"""Library: models, data sets and activations."""
