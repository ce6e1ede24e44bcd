"""Knee anatomy and measurement: what only the knee needs, over MRISegSuiteLib."""
