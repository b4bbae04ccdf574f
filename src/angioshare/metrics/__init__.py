"""Measures of masks and of groups of subjects: pure functions of arrays, no torch."""
