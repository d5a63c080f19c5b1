"""Screening: is a picture worth an analysis, and fit for one?"""
