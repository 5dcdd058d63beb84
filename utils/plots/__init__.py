"""Draws pictures: confusion matrices, contact sheets, and the fonts that they need."""
