"""Media in S3-compatible object stores.

Only ``client`` and ``chain`` import aiobotocore, and only once a backend is opened: a server
without S3 does not pay for it.
"""
