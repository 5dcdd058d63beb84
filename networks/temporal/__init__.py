"""Holds the parts that work along time, temporal shift, pool and non-local block, and puts them into image networks."""
