"""Shipped settings, one TOML file each."""
