"""The auditable core: knows no images, no networks by name, and no files but its ledger."""
