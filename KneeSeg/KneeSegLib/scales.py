"""Ends of the color scales, the same in the scene and in the report."""

#: Cartilage thickness, mm: thicker is rare (patella) and still tells.
THICKEST_SHOWN_MM = 4.0
#: T2, ms.
LONGEST_SHOWN_MS = 80.0
#: Change of thickness to both sides, mm.
GREATEST_SHOWN_CHANGE_MM = 1.0
#: End of the scale of how far a bone reaches beyond its shape model, mm, to both sides.
GREATEST_SHOWN_ERROR_MM = 3.0
