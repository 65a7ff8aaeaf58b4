"""The only part of the app that touches models, banks and devices: plain names in, plain data out, cached.

Every cached function takes strings and numbers alone, and what it returns is shared by all users and read-only. Work on
the device takes turns (`turns`). Nothing here draws; expected failures raise `AshError` with one sentence.
"""
