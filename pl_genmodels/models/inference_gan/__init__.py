"""GANs that also learn the way back, from samples to latents."""
