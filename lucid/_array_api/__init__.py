"""The Python array API standard, 2024.12, one file a chapter.

Each function hands its tensors' arrays to NumPy or CuPy under the same name.
"""
