"""Draws pictures: confusion matrices and contact sheets, with fonts that can show their texts."""
