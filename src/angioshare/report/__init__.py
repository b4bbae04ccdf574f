"""How results are told: tables, figures and two HTML pages, one for the house and one that may leave it.

Reads records, statements and arrays that are handed over; needs no torch.
"""
