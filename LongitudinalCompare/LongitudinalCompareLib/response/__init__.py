"""Response criteria: published thresholds, kept as data, applied to measured lesions. The answer is a change category
for a person to judge and sign, never a diagnosis."""
