"""Scores: histograms, ROC and PR of one setting."""
