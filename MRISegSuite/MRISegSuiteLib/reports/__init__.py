"""Reports: pictures of slices and surfaces, charts, and the stand-alone HTML page around them."""
