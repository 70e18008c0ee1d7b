"""The benchmark commands: `python -m bench`, `python -m lucid.bench`, `lucid bench`."""
