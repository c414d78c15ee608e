"""Options for every test."""

from __future__ import annotations

from hypothesis import settings

# Compiling dwarfs any deadline; the same examples every time make a failure reproducible.
settings.register_profile("suite", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("suite")
