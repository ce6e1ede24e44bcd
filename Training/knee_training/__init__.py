"""Training of the embedded knee network on virtual knees. Needs torch; never imported by the GUI process."""
