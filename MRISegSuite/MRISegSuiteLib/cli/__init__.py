"""The command line: the same jobs as the panels start, for a terminal, a script or a cluster."""
