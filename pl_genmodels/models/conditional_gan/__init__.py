"""GANs that are told what to make: labels, attributes, codes."""
