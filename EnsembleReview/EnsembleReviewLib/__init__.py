"""Experts, fusion, agreement, review and feedback; what is not about several opinions is in MRISegSuiteLib."""
