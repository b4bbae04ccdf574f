"""A simulator of TOF angiograms with vessel labels, built from published anatomy and physics alone.

It reads no private data, so whatever it makes is public and spends no epsilon. `subject.simulate_subject` is the one
entry; `sites.SITES` holds ready-made parameters, `parameters` the settings and their flat form for calibration.
"""
