"""Qt pieces that the panels of the suite share. May import qt, ctk and slicer; nothing below may import this."""
