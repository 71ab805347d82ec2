"""One file for each migration: `NNNN_pre_what.py` only adds, `NNNN_post_what.py` removes."""
