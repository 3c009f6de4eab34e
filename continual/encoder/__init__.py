"""A frozen pretrained encoder, the sites at which modules act on it, and what is loaded there."""
