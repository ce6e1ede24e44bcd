"""Parts of the module's panel. Knows Qt."""
