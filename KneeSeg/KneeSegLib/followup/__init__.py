"""Two timepoints of one knee: bones laid on each other, regions carried over, change with what is detectable.

    registration (bone on bone) --> matching (the baseline's regions on the follow-up) --> change (table and map)
"""
