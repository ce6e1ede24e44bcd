"""What changed between timepoints: volumes measured natively, lesions over time, and how sure all of it is."""
