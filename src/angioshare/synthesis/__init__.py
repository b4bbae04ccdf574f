"""How pairs are made: the published WGAN, its rivals, and the registry."""
