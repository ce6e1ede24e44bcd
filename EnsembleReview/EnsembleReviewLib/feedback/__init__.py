"""What people said about results: kept for good, counted by expert, and given back as a training set.

``review``      what is kept of one reviewed case
``store``       the store: SQLite for the records, files named after their content for masks and images
``agreement``   how near each expert came to what was accepted
``statistics``  the same over all cases
``splits``      folds that never share a patient
``export``      nnU-Net v2 and MONAI layouts
``saving``      the jobs ``feedback`` and ``feedback_export``, so that a window does not wait
"""
