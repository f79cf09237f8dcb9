"""Runs as a portable archive: `hcr bundle` packs them, `hcr unbundle` brings them into another output root."""
