"""The loops that Numba compiles, in plain Python; see lucid/backends/numba/source.py.

Each module here is put together, as text, with one family's functions and with the
arithmetic of one dtype; what it imports stands for those.
"""
