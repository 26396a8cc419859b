"""GANs without conditions: one objective, one file."""
