"""Tools that read what a run wrote into its experiment folder and never change it."""
