"""Experts, fusion, agreement, review and feedback. Everything that is not about several opinions is in MRISegSuiteLib."""
