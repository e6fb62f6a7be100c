"""Stands in for Colab's own package: that it is imported tells a notebook where it runs."""
