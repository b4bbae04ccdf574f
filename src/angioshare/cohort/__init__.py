"""Who it is about: cohorts of labelled angiograms, read with care, split by subject, known again by fingerprint.

Nothing is imported here: `names` and `split` serve settings and must not wait for an image library.
"""
