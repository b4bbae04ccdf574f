"""How a study is told: the figures and the table of the paper over all settings and seeds, and two pages of them.

Reads the same content as the report of a run (`report.content`), whose sources are here the points of a study; what may
leave the house is judged by the same two walls (`report.sharing`).
"""
