"""Signed URLs of content delivery networks, computed here.

``config`` is what an operator says; ``cloudfront`` and ``edgeauth`` are built in.
"""
