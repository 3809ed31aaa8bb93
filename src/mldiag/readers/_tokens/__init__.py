"""Token files and vocabularies."""
