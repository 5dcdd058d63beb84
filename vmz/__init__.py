"""Keeps VMZ's import path, `from vmz.models import ir_csn_152`. The networks themselves are in networks/."""
