"""How vessels are found: U-Nets trained on any patches, applied to whole volumes, chosen on validation subjects."""
