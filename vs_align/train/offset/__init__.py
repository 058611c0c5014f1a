"""Predictors of the offset of two clips: training and evaluation."""
