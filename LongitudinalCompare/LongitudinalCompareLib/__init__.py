"""Two or more scans of one patient over time: alignment, change, response. See Docs/decisions.md."""
