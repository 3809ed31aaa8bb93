"""TensorBoard's event files: framing, checksums, events."""
