"""Images: reading and checking them, their orientation, and segmentation files."""
