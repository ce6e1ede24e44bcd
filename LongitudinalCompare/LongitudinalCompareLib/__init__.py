"""Timepoints compared: registration, change and response only, over MRISegSuiteLib."""
